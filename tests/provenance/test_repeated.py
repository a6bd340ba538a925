"""What one source says first, or says again, of equal words binds nobody who is trusted more."""

from __future__ import annotations

import pytest

from aios_db.schema.config import TrustConfig

TRUST = TrustConfig(sources=(("web:*", 0.2), ("tool:*", 0.6)))
TEXT = "The boat leaves from pier nine."
OWN = ("memory_id", "created_at", "association_links")
ACCESS = ("access_count", "last_access_at")
PLANTED = {
    "text_embedding": [0.0] * 7 + [1.0],
    "tier": "archived",
    "importance": 0.0,
    "metadata": {"order": "obey"},
    "media_type": "text/evil",
}
SAID = {
    "alone": {},
    "values": PLANTED,
    "long_ago": {"occurred_at": "1980-01-01"},
    "all": {**PLANTED, "occurred_at": "1980-01-01", "trust": 0.1},
}


def row(con, memory_id, but=OWN):
    con.store.refresh()
    found = con.store.memories.to_table().to_pylist()
    return {name: value for each in found if each["memory_id"] == memory_id for name, value in each.items()
            if name not in but}  # fmt: skip


def links(con):
    con.store.refresh()
    found = con.store.links.to_table().to_pylist()
    text = {each["memory_id"]: each["text"] for each in con.store.memories.to_table().to_pylist()}
    return sorted(
        (text[e["source_id"]], text[e["target_id"]], e["kind"], round(e["weight"], 5)) for e in found
    )


@pytest.mark.parametrize("first", SAID)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({}, {"occurred_at": "2024-03-01"}),
        ({"fold": True}, {}),
        ({"fold": True}, {"fold": True, "occurred_at": "2024-03-01"}),
        ({"kind": "document"}, {"kind": "document", "metadata": {"mine": 1}}),
        ({"external_id": "boat"}, {"external_id": "boat"}),
        ({"external_id": "boat", "title": "Evil"}, {"external_id": "boat"}),
    ],
)
def test_who_is_trusted_more_finds_nothing_of_who_said_it_first(connect, first, before, after):
    con, web, clean = connect(trust=TRUST), connect(trust=TRUST, source="web:evil"), connect("clean", TRUST)
    web.remember(TEXT, **before, **SAID[first])
    mine = con.remember(TEXT, source="user", **after)
    assert row(con, mine) == row(clean, clean.remember(TEXT, source="user", **after))
    assert con.audit(mine).trust == 1.0


def test_a_planted_time_binds_no_later_one(connect):
    con, web, clean = connect(trust=TRUST), connect(trust=TRUST, source="web:evil"), connect("clean", TRUST)
    web.remember(TEXT, occurred_at="1980-01-01")
    web.remember(TEXT, fold=True, occurred_at="1981-01-01")
    for each in (con, clean):
        each.remember(TEXT, source="user", fold=True)
    web.remember(TEXT, fold=True, occurred_at="1982-01-01")
    mine = con.remember(TEXT, source="user", fold=True, occurred_at="2024-03-01")
    same = clean.remember(TEXT, source="user", fold=True, occurred_at="2024-03-01")
    assert row(con, mine, (*OWN, *ACCESS)) == row(clean, same, (*OWN, *ACCESS))


@pytest.mark.parametrize("name", [None, "profile"])
def test_links_made_by_hand_before_do_not_join_what_is_trusted_more(connect, name):
    con, web, clean = connect(trust=TRUST), connect(trust=TRUST, source="web:evil"), connect("clean", TRUST)
    for each in (con, clean):
        each.remember(["The safe is behind the mirror.", "The boat leaves at noon."], source="user")
    target = con.recall("The safe is behind the mirror.", k=1)[0].memory_id
    planted = web.remember(TEXT, external_id=name)
    web.link(planted, target, weight=1.0)
    page = web.remember("Of the boat.", derived_from=[planted])
    assert con.remember(TEXT, external_id=name, source="user") == planted
    clean.remember(TEXT, external_id=name, source="user")
    assert (page, planted, "derived_from") in con.execute(
        "SELECT source_id, target_id, kind FROM association_links"
    ).fetchall()
    con.forget(source="web:evil")
    assert links(con) == links(clean)


@pytest.mark.parametrize("again", SAID)
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("mine", [{}, {"fold": True}, {"occurred_at": "2024-01-01"},
                                  {"fold": True, "occurred_at": "2024-01-01"}])  # fmt: skip
def test_who_is_trusted_less_changes_nothing_by_saying_it_again(connect, mine, fold, again):
    con, web = connect(trust=TRUST), connect(trust=TRUST, source="web:evil")
    memory = con.remember(TEXT, source="user", **mine)
    before = row(con, memory, ACCESS)
    web.remember(TEXT, fold=fold, **SAID[again])
    assert row(con, memory, ACCESS) == before
    other = connect("clean", TRUST)
    same = other.remember(TEXT, source="user", **mine)
    later = {"source": "user", "occurred_at": "2024-03-01"}
    assert (con.remember(TEXT, **later) == memory) == (other.remember(TEXT, **later) == same)
