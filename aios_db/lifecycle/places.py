# ruff: noqa: E501 - a list of names is one text
"""Which names of places are of a continent, a country or a region, in which other places lie."""

from __future__ import annotations

_CONTINENTS = "europe, asia, africa, south america, north america, latin america, scandinavia, oceania"
_COUNTRIES = """
    afghanistan, albania, algeria, andorra, angola, argentina, armenia, australia, austria, azerbaijan, bahrain, bangladesh,
    barbados, belarus, belgium, belize, benin, bhutan, bolivia, bosnia, botswana, brazil, bulgaria, burkina faso, burundi,
    cambodia, cameroon, canada, chad, chile, china, colombia, congo, costa rica, croatia, cuba, cyprus, czechia=czech republic,
    denmark, dominican republic, ecuador, egypt, el salvador, eritrea, estonia, ethiopia, fiji, finland, france, gabon, gambia,
    germany, ghana, greece, guinea, guyana, haiti, honduras, hungary, iceland, india, indonesia, iran, iraq, ireland, israel,
    italy, ivory coast, jamaica, japan, jordan, kazakhstan, kenya, kosovo, kyrgyzstan, laos, latvia, lebanon, lesotho, liberia,
    libya, liechtenstein, lithuania, madagascar, malawi, malaysia, maldives, mali, malta, mauritania, mauritius, mexico,
    moldova, mongolia, montenegro, morocco, mozambique, myanmar=burma, namibia, nepal, netherlands=holland, new zealand,
    nicaragua, niger, nigeria, north korea, north macedonia, norway, oman, pakistan, palestine, paraguay, peru, philippines,
    poland, portugal, qatar, romania, russia, rwanda, samoa, saudi arabia, senegal, serbia, seychelles, sierra leone, slovakia,
    slovenia, somalia, south africa, south korea, south sudan, spain, sri lanka, sudan, suriname, sweden, switzerland, syria,
    taiwan, tajikistan, tanzania, thailand, togo, tonga, trinidad, tunisia, turkey, turkmenistan, uganda, ukraine,
    united arab emirates=uae, united kingdom=uk=great britain=britain, united states=usa=us=america, uruguay, uzbekistan,
    venezuela, vietnam, yemen, zambia, zimbabwe
"""
_REGIONS = """
    england, scotland, wales, northern ireland, alabama, alaska, arizona, arkansas, california, colorado, connecticut, delaware,
    florida, hawaii, idaho, illinois, indiana, iowa, kansas, kentucky, louisiana, maine, maryland, massachusetts, michigan,
    minnesota, mississippi, missouri, montana, nebraska, nevada, new hampshire, new jersey, new mexico, north carolina,
    north dakota, ohio, oklahoma, oregon, pennsylvania, rhode island, south carolina, south dakota, tennessee, texas, utah,
    vermont, virginia, west virginia, wisconsin, wyoming, ontario, quebec, alberta, british columbia, bavaria, saxony, tuscany,
    sicily, provence, brittany, catalonia, andalusia, queensland, tasmania
"""


def _ranked() -> dict[str, tuple[int, str]]:
    found = {}
    for rank, places in enumerate((_REGIONS, _COUNTRIES, _CONTINENTS), 1):
        for names in places.split(","):
            first, *others = names.strip().split("=")
            found.update(dict.fromkeys([first, *others], (rank, first)))
    return found


_KNOWN = _ranked()


def may_be_in(one: str, other: str) -> bool:
    """Tell whether of two places in lower case one may lie in the other, or be the other by another name.

    A place that is not known is a town: two of them are told apart by nothing but their names.
    """
    (rank, first), (other_rank, other_first) = _KNOWN.get(one, (0, one)), _KNOWN.get(other, (0, other))
    return rank != other_rank or first == other_first
