"""What no longer holds: found by rules, noted in one commit, preferred against, undone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import aios_db
from aios_db.lifecycle.facts import Fact, facts_of
from aios_db.lifecycle.rewording import wordings_of
from aios_db.lifecycle.statements import told as stated

DATA = Path(__file__).parents[2] / "bench" / "data"
sys.path.insert(0, str(DATA.parent))
from bench_misleading import halves  # noqa: E402 - lies beside the data

Open = Callable[..., aios_db.Connection]
DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


def told(*texts: str, **columns: Any) -> list[dict[str, Any]]:
    return [
        {"text": text, "occurred_at": DAY + timedelta(days=day), **columns} for day, text in enumerate(texts)
    ]


def over(con: aios_db.Connection) -> dict[str, str]:
    """Return what no longer holds, and what does instead."""
    found = con.execute(
        "SELECT old.text, new.text FROM memories old JOIN memories new ON new.memory_id = old.superseded_by"
    )
    return dict(found.fetchall())


LIFE = ("I live in Paris.", "I have a cat called Tom.", "We had soup.", "I moved to Berlin!")


def test_recall_prefers_what_is_valid_and_valid_at_shows_what_was(open_database: Open) -> None:
    with open_database() as con:
        con.remember(told(*LIFE, user_id="u"))
        before = [hit.text for hit in con.recall("Where do I live?", 2)]
        assert before == ["I live in Paris.", "I moved to Berlin!"]
        [found] = con.supersede()
        assert (found.attribute, found.value, found.new_value) == ("home", "paris", "berlin")
        assert over(con) == {"I live in Paris.": "I moved to Berlin!"}
        change = con.history(1)[0]
        assert (change.call, change.updated, change.memories_after - change.memories_before) == (
            "supersede",
            1,
            1,
        )
        hits = con.recall("Where do I live?", 2)
        assert [hit.text for hit in hits] == ["I moved to Berlin!", "I live in Paris."]
        assert hits[1].valid_until == DAY + timedelta(days=3) and hits[1].superseded_by == hits[0].memory_id
        then = con.recall("Where do I live?", 1, valid_at=DAY + timedelta(days=2))
        assert [hit.text for hit in then] == ["I live in Paris."]
        links = con.execute("SELECT source_id, target_id FROM association_links WHERE kind = 'superseded_by'")
        assert links.fetchall() == [(hits[1].memory_id, hits[0].memory_id)]


def test_it_is_undone_and_as_of_shows_what_was_known(open_database: Open) -> None:
    with open_database() as con:
        con.remember(told(*LIFE))
        moment = datetime.now(timezone.utc)
        rows = con.execute("FROM supersede()").fetchall()
        assert len(rows) == 1 and len(over(con)) == 1
        known = con.recall("Where do I live?", 1, as_of=moment)
        assert [hit.text for hit in known] == ["I live in Paris."] and known[0].valid_until is None
        con.undo(con.history(1)[0])
        assert over(con) == {} and [hit.text for hit in con.recall("Where do I live?", 1)] == [
            "I live in Paris."
        ]
        assert con.execute(
            "SELECT count(*) FROM association_links WHERE kind = 'superseded_by'"
        ).fetchall() == [(0,)]
        assert len(con.execute("FROM supersessions()").fetchall()) == 1  # and nothing was noted by asking
        assert over(con) == {}


def test_the_consolidator_notes_it_first_and_leaves_it_out(open_database: Open) -> None:
    with open_database() as con:
        con.remember(
            told(*LIFE, "My flat in Berlin has a balcony.", "Berlin is where I live.", session_id="s")
        )
        con.consolidate(min_cluster=2)
        assert list(over(con)) == ["I live in Paris."]
        made = con.execute("SELECT derived_from FROM memories WHERE kind = 'principle'").fetchall()
        gone = con.execute("SELECT memory_id FROM memories WHERE text = 'I live in Paris.'").fetchall()[0][0]
        assert made and all(gone not in sources for (sources,) in made)
    with open_database({"consolidation": {"supersede": False}}) as con:
        con.remember(told("My rent is 900 euros.", "My rent is now 950 euros.", session_id="t"))
        con.consolidate()
        assert list(over(con)) == ["I live in Paris."]


def test_nobody_says_anything_about_another_user_or_what_is_trusted_more(open_database: Open) -> None:
    with open_database({"trust": {"sources": {"web:*": 0.3}}}) as con:
        con.remember(told("My phone number is 555-1234.", user_id="ada"))
        con.remember(told("x", "My phone number is 555-9876.", user_id="bo"))
        con.remember(told("x y", "My new phone number is 666-6666.", user_id="ada", source="web:evil"))
        assert con.supersede() == []
    with open_database(user_id="ada") as con:
        con.remember(told("x y z", "My phone number is 555-0000.")[1])
        assert len(con.supersede()) == 1
    with open_database(source="web:evil") as con, pytest.raises(aios_db.NotSupportedError):
        con.supersede()


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("I went to Paris.", "I went to Rome."),
        ("I live in Paris.", "Do you live in Berlin?"),
        ("I live in Paris.", "I might move to Berlin."),
        ("I live in Paris.", "I used to live in Berlin."),
        ("I live in Paris.", "If I lived in Berlin I would cycle."),
        ("I live in Paris.", "I live in the north of Paris."),
        ("I have a dog named Rex.", "I have a cat named Tom."),
        ("My sister lives in Oslo.", "My brother lives in Graz."),
        ("Ada works at Globex.", "Bo works at Acme."),
        ("The meeting is on Tuesday.", "The meeting is in room 12."),
        ("The train to Oslo leaves at 9:00.", "The train to Graz now leaves at 8:00."),
        ("My old phone number is 555-1234.", "My phone number is 555-9876."),
        ("The cat is hungry.", "The cat is asleep."),
        ("I live in Paris.", "I moved to Berlin. Just kidding!"),
        ("I live in Paris.", "I moved to the kitchen."),
        ("I live in Paris.", "I live in Berlin on weekends."),
        ("I live in Paris.", "I live in France."),
        ("My dog is called Rex.", "My dog is called Bella."),
        ("The meeting is at 15:00.", "The meeting is now at 3 pm."),
        ("I weigh 70 kg.", "My suitcase now weighs 23 kg."),
        ("Ich wohne in Graz.", "Ich wohne jetzt in Wien."),
        ("Mein Büro ist in Raum 12.", "Mein Büro ist now in Raum 14."),
        ("Vivo en Sevilla.", "Ahora vivo en Cádiz."),
        ("Mi número es 555-1234.", "Mi número ahora es 555-9876."),
        ("我住在上海。", "我现在住在北京。"),
        ("Highway 11.", "Highway 45."),
        ("May 14", "May 21"),
        ("The store opens at 9.", "The store closes at 6 now."),
        ("My phone is an iPhone.", "My phone is broken now."),
        ("My job is stressful.", "My job is fun now and then."),
        ("My coach is my friend.", "My coach is Ben."),
        ("I drive a Golf.", "We now use Redis for caching."),
    ],
)
def test_in_doubt_nothing_is_noted(open_database: Open, older: str, newer: str) -> None:
    vectors = [[1.0] + [0.0] * 383, [0.0] * 383 + [1.0]]
    with open_database() as con:
        con.remember(
            [
                {**row, "text_embedding": vector}
                for row, vector in zip(told(older, newer), vectors, strict=True)
            ]
        )
        assert con.supersede(dry_run=True) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("Bo's office is in room 12.", "Bo's office is now room 14."),
        ("The weekly meeting is on Tuesday at 3 pm.", "The weekly meeting has been moved to Thursday."),
        ("The project deadline is 12 May.", "The project deadline was pushed back to 20 May."),
        ("Our CEO is Jane Roe.", "Our new CEO is John Smith."),
        ("I'm vegetarian.", "I became a vegan in May."),
        ("I work at Acme Corp.", "I no longer work at Acme Corp."),
        ("The choir sings every Monday.", "The choir now sings on Friday."),
        ("My favourite colour is blue.", "My favorite color is now green."),
        ("I'm 34.", "I just turned 35."),
        ("The store closes at 6.", "The store closes at 7 now."),
        ("My phone is an iPhone.", "My phone is a Pixel now."),
    ],
)
def test_changes_in_other_words(open_database: Open, older: str, newer: str) -> None:
    vectors = [[1.0] + [0.0] * 383, [0.0] * 383 + [1.0]]
    with open_database() as con:
        con.remember(
            [
                {**row, "text_embedding": vector}
                for row, vector in zip(told(older, newer), vectors, strict=True)
            ]
        )
        [found] = con.supersede(dry_run=True)
        assert con.get(found.memory_id).text == older and con.get(found.superseded_by).text == newer  # type: ignore[union-attr]


def test_facts_and_who_says_i() -> None:
    moved = Fact("ada", "home", "lisbon", changes=True)
    assert facts_of(stated("Ada: I moved to Lisbon with my sister.")) == [moved]
    assert facts_of(stated("I moved to Lisbon.", "Ada")) == [moved]
    assert facts_of(stated("I live in Lisbon.", "Ada")) == [Fact("ada", "home", "lisbon")]
    assert facts_of(stated("I no longer live in Paris.")) == [
        Fact("i", "home", "paris", gone=True, changes=True)
    ]
    assert [each.changes for each in wordings_of(stated("The choir now sings on Friday."))] == [True]
    assert wordings_of(stated("One. Two.")) == []


def test_by_hand(open_database: Open) -> None:
    with open_database() as con:
        one, other = con.remember(["The key is under the pot.", "The key is with Bo."])
        con.update(one, superseded_by=other, valid_until="2024-05-01")
        memory = con.get(one)
        assert memory is not None and memory.valid_until == datetime(2024, 5, 1, tzinfo=timezone.utc)
        assert [hit.text for hit in con.recall("Where is the key?", 1)] == ["The key is with Bo."]


def test_what_supersedes_says_until_when_it_held(open_database: Open) -> None:
    with open_database() as con:
        con.remember(
            [
                {"text": "I live in Oslo.", "occurred_at": DAY},
                {"text": "Graz it is.", "occurred_at": DAY + timedelta(days=9)},
            ]
        )
        one, other = (row[0] for row in con.execute("SELECT memory_id FROM memories ORDER BY 1").fetchall())
        con.update(one, superseded_by=other)
        assert con.get(one).valid_until == DAY + timedelta(days=9)
        con.update(one, superseded_by=None)
        con.update(one, valid_until="2024-01-01")
        con.update(one, superseded_by=other)  # an end that is known stays
        assert con.get(one).valid_until.year == 2024
        [third] = con.remember([{"text": "I live in Turin.", "superseded_by": other}])
        assert con.get(third).valid_until == DAY + timedelta(days=9)


@pytest.mark.parametrize(
    ("column", "value", "kind", "message"),
    [
        ("superseded_by", "no memory", aios_db.ProgrammingError, "'no memory', which is no memory"),
        ("superseded_by", "x" * 9_000, aios_db.ProgrammingError, "…', which is no memory"),
        ("superseded_by", "'; DROP TABLE memories; --", aios_db.ProgrammingError, "which is no memory"),
        ("superseded_by", "\ud800", aios_db.DataError, "surrogates"),
        ("superseded_by", "itself", aios_db.DataError, "a memory cannot supersede itself"),
        ("valid_until", "soon", aios_db.DataError, "not a time"),
        ("valid_until", 1e300, aios_db.DataError, "valid_until"),
        ("valid_until", float("nan"), aios_db.DataError, "valid_until"),
        ("valid_until", "99999-01-01", aios_db.DataError, "valid_until"),
    ],
)  # fmt: skip
def test_ends_that_make_no_sense(
    open_database: Open, column: str, value: object, kind: type[Exception], message: str
) -> None:
    with open_database() as con:
        name = con.remember("I live in Oslo.")
        with pytest.raises(kind, match=message):
            con.update(name, **{column: name if value == "itself" else value})
        assert con.get(name).valid_until is None and con.get(name).superseded_by is None


def test_no_infinite_end_in_sql(open_database: Open) -> None:
    with open_database() as con:
        con.remember("I live in Oslo.")
        with pytest.raises(aios_db.DataError):
            con.execute("UPDATE memories SET valid_until = 'infinity'").fetchall()
        assert con.execute("SELECT valid_until FROM memories").fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("older", "newer", "is_over"),
    [
        ("My rate is 80 euros per hour.", "My rate is 640 euros per day.", False),
        ("My rate is 80 euros per hour.", "My rate is now 90 euros.", True),
        ("My salary is 4000 a month.", "My salary is 48000 a year.", False),
        ("The limit is 10 MB.", "The limit is 10,000 KB.", False),
        ("The limit is 1,000 MB.", "The limit is 1,500 MB.", True),
        ("My boss is Alex.", "My boss is on holiday now.", False),
        ("My landlord is Mr. Hill.", "My landlord is now angry.", False),
        ("My boss is Alex.", "My boss is Kim now.", True),
        ("My favorite color is green.", "My favorite color is orange.", True),
        ("I live in Paris.", "I live in New York.", False),
        ("The box costs 5 euros.", "The box now costs 3 euros for members.", False),
        ("The price of the small box is 5 euros.", "The price of the big box is now 8 euros.", False),
        ("Our team is called Orion.", "Our team is now in Berlin.", False),
        ("We ship to Norway.", "We now ship to Sweden.", False),
        ("My rent is 900 euros.", "Her rent is now 950 euros.", False),
        ("My bike is a Trek.", "My new bike is a Giant.", False),
        ("I wrote to Mr. Ames.", "I now wrote to Mrs. Bell.", False),
        ("My sister lives in Canada.", "My sister lives in Toronto now.", False),
        ("I live in Canada.", "I live in Peru now.", True),
        ("I live in Bath.", "I moved to York and came back.", False),
        ("I live in Bath.", "I moved to York in 1998.", False),
        ("I live in Bath.", "I live in Leith now, near Bath.", False),
        ("I live in St. Gallen.", "I live in Saint Gallen now.", False),
        ("My number is 555 1234.", "My number is now 555-1234.", False),
        ("I am 183 cm tall.", "I am now 1.83 m tall.", False),
        ("I bank with Ebury.", "I switched from Ebury to Wise.", True),
        ("I bank with Ebury.", "I switched from Starling to Wise.", False),
        ("I have a red kayak.", "I sold the red kayak.", True),
        ("I smoke.", "I don't smoke anymore.", True),
        ("The rent is 900 euros.", "They have raised the rent to 950 euros.", True),
        ("Our doctor is Dr. Haas.", "Our doctor retired. It's Dr. Nowak now.", True),
        ("My code is 4471.", "Sorry, I was wrong, my code is 4417.", True),
        ("The key is under the mat.", "The key is now in the shed.", True),
        ("My flat is in Turin.", "My flat is now on the market.", False),
        ("I live in Bath.", "My lease ended, so I moved to York.", True),
        ("Ann is the keeper.", "Bea is the keeper now.", True),
        ("Ann is my friend.", "Bea is my friend now.", False),
        ("Ann is the keeper.", "Bea has taken over as keeper from Ann.", True),
        ("I'm a junior welder.", "I got promoted to senior welder.", True),
        ("I eat meat.", "I stopped eating meat.", True),
        ("I take two pills.", "I take three pills now.", True),
        ("The boat costs 900 euros.", "The price of the boat dropped to 800 euros.", True),
        ("My aunt lives in Bonn.", "My aunt sold her house. She lives in Mainz now.", True),
    ],
)
def test_what_is_said_of_the_same_and_what_is_not(
    older: str, newer: str, is_over: bool, open_database: Open
) -> None:
    with open_database() as con:
        con.remember(told(older, newer, user_id="u"))
        con.supersede()
        assert over(con) == ({older: newer} if is_over else {})


@pytest.mark.parametrize("half", [0, 1])
def test_of_pairs_of_talk_few_are_noted_in_error(half: int, open_database: Open) -> None:
    pairs = halves(json.loads((DATA / "talk_changes.json").read_text("utf-8")))[half]
    vector = [1.0] + [0.0] * 383
    with open_database() as con:
        con.remember(
            row | {"text_embedding": vector}
            for number, pair in enumerate(pairs)
            for row in told(pair["older"], pair["newer"], user_id=str(number), speaker="Ada")
        )
        noted = {int(con.get(each.memory_id).user_id) for each in con.supersede()}  # type: ignore[union-attr]
    right = [number for number, pair in enumerate(pairs) if pair["changed"]]
    assert len(noted.intersection(right)) >= 0.58 * len(right)
    assert len(noted.difference(right)) <= 0.045 * (len(pairs) - len(right))


@pytest.mark.parametrize(
    "pair",
    [
        ("Our version is 2.1.", "Our version is now 2.1.0."),
        ("I live in New York City.", "I live in NYC now."),
        ("I moved to N.Y.C.", "I live in New York City now."),
        ("I live in Munich.", "I live in München now."),
        ("My favourite city is Zürich.", "My favourite city is now Zurich."),
    ],
)
def test_another_spelling_is_no_change(pair: tuple[str, str]) -> None:
    [older], [newer] = facts_of(stated(pair[0])), facts_of(stated(pair[1]))
    assert older.attribute == newer.attribute
    assert not newer.conflicts(older)


@pytest.mark.parametrize(
    "pair",
    [
        ("Our version is 2.1.", "Our version is now 2.1.1."),
        ("I live in Paris.", "I live in Périgueux now."),
        ("I live in New York City.", "I live in LA now."),
        ("I live in Köln.", "I live in Kiel now."),
    ],
)
def test_a_name_that_looks_alike_is_a_change(pair: tuple[str, str]) -> None:
    [older], [newer] = facts_of(stated(pair[0])), facts_of(stated(pair[1]))
    assert newer.conflicts(older)
