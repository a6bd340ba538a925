"""A principle that a model wrote says what its sources say: paraphrases pass, scrambled ones do not."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrambling import scrambled

from aios_db.lifecycle.grounding.checking import Evidence, ungrounded

HERE = Path(__file__).parent
SOURCES = [
    Evidence("I ordered the mast of the Kestrel for 1,240 euros.", "Bo", date(2024, 5, 1)),
    Evidence("The mast arrives on 12 June.", "Ada", date(2024, 5, 1)),
    Evidence("We did not buy the second mast for the Kestrel.", "Bo", date(2024, 5, 1)),
    Evidence("My sister Lena pays 650 dollars rent in Hull.", "Mira", date(2024, 5, 2)),
    Evidence("My brother Omar pays 900 dollars in Leeds.", "Mira", date(2024, 5, 2)),
]


@pytest.mark.parametrize(("name", "passing", "refused"), [("fit", 0.4, 0.97), ("report", 0.3, 0.97)])
def test_paraphrases_pass_and_scrambled_ones_do_not(name: str, passing: float, refused: float) -> None:
    pairs = json.loads((HERE / f"paraphrases_{name}.json").read_text("utf-8"))
    counts: Counter[tuple[bool, bool]] = Counter()
    for pair in pairs:
        sources = [
            Evidence(each["text"], each["speaker"], date.fromisoformat(each["said"]))
            for each in pair["sources"]
        ]
        counts[True, not ungrounded(pair["paraphrase"], sources)] += 1
        texts, speakers = [each.text for each in sources], [each.speaker or "" for each in sources]
        for _, text in scrambled(pair["paraphrase"], texts, speakers):
            counts[False, not ungrounded(text, sources)] += 1
    true, false = counts[True, True] + counts[True, False], counts[False, True] + counts[False, False]
    assert true >= 40 and false >= 70
    assert counts[True, True] / true >= passing
    assert counts[False, False] / false >= refused


def test_of_answers_that_were_made_to_mislead_nearly_all_are_refused() -> None:
    counts: Counter[tuple[str, bool]] = Counter()
    for each in json.loads((HERE.parents[1] / "bench/data/development_answers.json").read_text("utf-8")):
        sources = [
            Evidence(source["text"], source["speaker"], date.fromisoformat(source["said"]))
            for source in each["sources"]
        ]
        for kind in ("wrong", "right"):
            counts.update((kind, not ungrounded(text, sources)) for text in each[kind])
    assert counts["wrong", False] >= 170 and counts["wrong", True] <= 3
    assert counts["right", True] >= 48 and counts["right", False] <= 4


@pytest.mark.parametrize(
    "text",
    [
        "Bo ordered a mast for the Kestrel for €1,240, which arrives on 12 June.",
        "The second mast was not bought for the Kestrel.",
        "Mira's sister Lena pays $650 rent, her brother Omar $900.",
        "On 2024-06-12 the mast arrives.",
    ],
)
def test_what_the_sources_say_in_fewer_words(text: str) -> None:
    assert ungrounded(text, SOURCES) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("The second mast for the Kestrel was bought.", "no denial"),
        ("The mast does not arrive on 12 June.", "a denial that no source has"),
        ("They decided against a second mast for the Kestrel.", "a word"),
        ("The mast may arrive on 12 June.", "another possible"),
        ("Lena pays 900 dollars rent in Hull.", "a number that the source does not have"),
        ("The mast arrives on 13 June.", "a date that the source does not have"),
        ("Bo ordered the mast for 1,240 dollars.", "a number that the source does not have"),
        ("Omar ordered the mast of the Kestrel.", "a name in another's place"),
        ("Mira's sister Omar pays rent in Leeds.", "a name in another's place"),
        ("Mira pays 650 dollars rent in Hull.", "a name in another's place"),
        ("Zebediah ordered the mast.", "1 name that no source has"),
    ],
)
def test_what_the_sources_do_not_say(text: str, why: str) -> None:
    assert any(each.startswith(why) for each in ungrounded(text, SOURCES))


@pytest.mark.parametrize(
    ("source", "text", "is_said"),
    [
        ("Never feed the geese.", "The geese should never be fed.", True),
        ("Never feed the geese.", "The geese should be fed.", False),
        ("The geese never eat.", "The geese should never eat.", False),
        ("The geese hate the vet's visits.", "The geese hate visits from the vet.", True),
        ("The budget of the harbour is 400 pounds.", "The harbour has a budget of 400 pounds.", True),
        ("The budget of the harbour is 400 pounds.", "The harbour has a budget of 500 pounds.", False),
        ("I purchased a sofa.", "Ada bought a couch.", True),
        ("I purchased a sofa.", "Ada sold a couch.", False),
        ("I'll buy a boat.", "Ada will buy a boat.", True),
        ("I'll buy a boat.", "Ada buys a boat.", False),
    ],
)
def test_the_same_in_another_form(source: str, text: str, is_said: bool) -> None:
    assert (ungrounded(text, [Evidence(source, "Ada")]) == []) is is_said


def test_in_a_language_whose_words_are_not_known_only_what_is_said_just_so() -> None:
    sources = [
        Evidence("明日の会議は午後三時に始まります。", "Aki"),
        Evidence("Ik eet nooit vlees en vis.", "Bram"),
    ]
    assert ungrounded("明日の会議は午後三時に始まります。", sources) == []
    assert ungrounded("明日の会議は午前三時に始まります。", sources)
    assert ungrounded("Bram eet vlees en vis.", sources)


@given(st.text(max_size=300), st.lists(st.text(max_size=300), max_size=4), st.none() | st.text(max_size=20))
def test_any_text_is_judged(text: str, texts: list[str], speaker: str | None) -> None:
    reasons = ungrounded(text, [Evidence(each, speaker, date(9999, 12, 31)) for each in texts])
    assert all(isinstance(each, str) for each in reasons)


@given(st.sampled_from(SOURCES))
def test_a_source_says_what_it_says(source: Evidence) -> None:
    assert ungrounded(source.text, SOURCES) == []
