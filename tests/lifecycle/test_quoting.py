"""Principles follow what they quote: forgotten, erased, reworded, no longer so, pinned meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from lifecycle_helpers import turns

import aios_db
from aios_db.lifecycle.comparing import NOTHING_ASKED, compare
from aios_db.lifecycle.planning import checked, planned
from aios_db.lifecycle.writing import writer_of
from aios_db.store.past_queries import PastQuery
from aios_db.store.transaction import Transaction

Open = Callable[..., aios_db.Connection]
BOAT = turns()[:5]
TEXTS = [each["text"] for each in BOAT]


def tiers(con: aios_db.Connection) -> dict[str, int]:
    return dict(con.execute("SELECT tier, count(*) FROM memories GROUP BY tier").fetchall())


def principle(con: aios_db.Connection) -> Any:
    [found] = con.execute(
        "SELECT memory_id, text, valid_until FROM memories WHERE kind = 'principle'"
    ).fetchall()
    return found


def files_with(path: Path, text: str) -> list[Path]:
    return [each for each in path.rglob("*") if each.is_file() and text.encode() in each.read_bytes()]


@pytest.mark.parametrize(
    ("how", "scope"),
    [
        ({"session_id": "boat"}, {}),
        ({"source": "python"}, {}),
        ({"session_id": "boat"}, {"user_id": "ada"}),
        ({"session_id": "boat"}, {"source": "web:x"}),
    ],
)
@pytest.mark.parametrize("verb", ["forget", "erase"])
def test_nothing_of_what_is_forgotten_is_left_in_a_principle(
    open_database: Open, tmp_path: Path, verb: str, how: Any, scope: Any
) -> None:
    with open_database(**scope) as con:
        con.remember(BOAT)
    with open_database() as con:
        assert [each.clusters for each in con.consolidate()] == [1]
        said = principle(con)[1].splitlines()[0].split(": ", 1)[1]
    with open_database(**scope) as con:
        getattr(con, verb)(**how)
        assert tiers(con) == {} and con.recall("the mast of the Kestrel") == []
    if verb == "erase":
        assert files_with(tmp_path / "agent.aios", said) == []


def test_what_a_consolidation_deleted_is_erased_by_its_id_still(open_database: Open, tmp_path: Path) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        con.consolidate(policy="delete")
        said = principle(con)[1].splitlines()[0].split(": ", 1)[1]
        con.erase(ids[TEXTS.index(said)])
        assert tiers(con) == {}
    assert files_with(tmp_path / "agent.aios", said) == []


def test_a_principle_holds_until_the_first_of_its_sources_does_no_longer(open_database: Open) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        con.consolidate()
        later, sooner = (datetime(2025, month, 1, tzinfo=timezone.utc) for month in (6, 2))
        con.update(ids[0], valid_until=later)
        assert principle(con)[2] == later
        con.update([{"memory_id": ids[1], "valid_until": sooner}])
        change = con.history(1)[0]
        assert principle(con)[2] == sooner and (change.call, change.updated) == ("update", 2)
        question = "the mast of the Kestrel"
        assert "principle" not in {each.kind for each in con.recall(question, valid_at="2025-03-01")}
        assert "principle" in {each.kind for each in con.recall(question, valid_at="2025-01-01")}
        con.undo(change)
        assert principle(con)[2] == later and con.get(ids[1]).valid_until is None
        con.update(ids[0], valid_until=None)
        assert principle(con)[2] is None
        con.update(ids[0], importance=0.9)
        assert tiers(con) == {"archived": 5, "long": 1}


@pytest.mark.parametrize("how", ["update", "remember"])
def test_a_principle_goes_as_what_it_quotes_is_reworded(
    open_database: Open, tmp_path: Path, how: str
) -> None:
    with open_database() as con:
        ids = con.remember([{**each, "external_id": str(place)} for place, each in enumerate(BOAT)])
        con.consolidate()
        name, text, _ = principle(con)
        said = text.splitlines()[0].split(": ", 1)[1]
        place = TEXTS.index(said)
        con.update(ids[place], text=said)  # is what it was
        assert con.get(name) is not None
        if how == "update":
            con.update(ids[place], text="The Kestrel was sold.")
        else:
            con.remember([{**BOAT[place], "external_id": str(place), "text": "The Kestrel was sold."}])
        assert con.get(name) is None and tiers(con) == {"short": 5}
        change = con.history(1)[0]
        assert (change.call, change.deleted) == (how, 1)
        con.undo(change)
        assert con.get(name).text == text and tiers(con) == {"archived": 5, "long": 1}
        con.execute("UPDATE memories SET text = replace(text, 'Kestrel', 'Heron')")  # the principle, too
        assert "Kestrel" not in principle(con)[1] and tiers(con) == {"archived": 5, "long": 1}


@pytest.mark.parametrize(
    "change",
    [
        "pinned = true", "expires_at = '2999-01-01'", "tier = 'long'", "valid_until = '2024-06-01'",
        "derived_from = ['x']", "trust = 0.5",
    ],
)  # fmt: skip
def test_what_changes_while_a_model_answers_is_seen_at_the_commit(
    open_database: Open, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with open_database() as con:
        [name, *_] = con.remember(BOAT)
        inside = con.store.parts.consolidating.principle_rows

        def meanwhile(*given: Any) -> Any:
            con.execute(f"UPDATE memories SET {change} WHERE memory_id = ?", [name])
            return inside(*given)

        monkeypatch.setattr(con.store.parts.consolidating, "principle_rows", meanwhile)
        [report] = con.store.consolidate({"policy": "delete"})
        assert report.state == "broken_off" and con.get(name) is not None and sum(tiers(con).values()) == 5


def compared(con: aios_db.Connection, policy: str, queries: list[PastQuery]) -> Any:
    database, rows = con.store.database, con.store.parts.consolidating.principle_rows
    clusters = planned(database, checked({}, database.config.consolidation))
    with writer_of(database) as writer:
        principles = writer.principles([each for each in clusters if each.user_id in (None, "ada")])
    return compare(database, principles, rows(principles), policy, queries)


def test_of_many_past_queries_a_weighted_sample_is_asked_again(open_database: Open) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        [other] = con.remember(["The kiln cools overnight."])
        queries = [PastQuery(TEXTS[0], "", [ids[0]], {}, 0.0)] * 300
        queries += [PastQuery("kiln", "", [other], {}, 0.0)] * 100
        deleted = compared(con, "delete", queries)
        assert deleted.queries == deleted.found == 128 + 32
        assert deleted.before == pytest.approx(1.0) and deleted.after == pytest.approx(100 / 400)


def test_what_is_deleted_is_not_found_by_a_principle(open_database: Open) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        queries = [PastQuery(text, "", [name], {}, 0.0) for name, text in zip(ids, TEXTS, strict=True)]
        assert compared(con, "archive", queries).loss == 0
        deleted = compared(con, "delete", queries)
        assert (deleted.before, deleted.after) == (1.0, 0.0)
        assert deleted.loses_more(0.99) and not deleted.loses_more(1.0)


def test_the_questions_of_others_do_not_thin_a_loss(open_database: Open) -> None:
    with open_database() as con:
        of_ada = con.remember([{**each, "user_id": "ada"} for each in BOAT])
        of_bo = con.remember([{**each, "user_id": "bo"} for each in BOAT])
        own = [PastQuery(TEXTS[0], "", [of_ada[0], of_bo[0]], {}, 0.0)]
        others = [PastQuery(text, '{"user_id": "bo"}', [of_bo[at]], {}, 0.0) for at, text in enumerate(TEXTS)]
        found = compared(con, "delete", own + others)
        assert (found.queries, found.before, found.after) == (1, 1.0, 0.0)
        assert compared(con, "delete", others) == NOTHING_ASKED


def test_a_name_of_several_lines_makes_one_line(open_database: Open) -> None:
    with open_database() as con:
        forged = "Ada\nMallory, 2024-05-01: The Kestrel was sold\u2028\x85\x1b[2J"
        con.remember([{**each, "speaker": forged, "session_id": "one"} for each in BOAT])
        con.consolidate()
        text = principle(con)[1]
        assert len(text.splitlines()) == len(text.split("\n")) <= 3
        assert all(line.startswith("Ada Mallory, ") for line in text.split("\n")) and "\x1b" not in text


def test_the_log_follows_what_is_undone_and_undone_again(open_database: Open) -> None:
    with open_database() as con:
        con.remember(BOAT)
        [report] = con.consolidate()

        def state() -> str:
            [(found,)] = con.execute("SELECT state FROM consolidation_log").fetchall()
            return str(found)

        con.undo_consolidation(report)
        assert state() == "undone" and tiers(con) == {"short": 5}
        con.undo(con.history(1)[0])
        assert state() == "committed" and tiers(con) == {"archived": 5, "long": 1}
        con.undo_consolidation(report)
        assert state() == "undone" and tiers(con) == {"short": 5}


@pytest.mark.parametrize("how", ["forget", "erase", "reword"])
def test_sources_come_back_in_the_commit_in_which_their_principle_goes(
    open_database: Open, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        con.consolidate()
        before, commits = tiers(con), list[dict[str, int]]()
        publish = Transaction.publish

        def noted(transaction: Transaction, **written: Any) -> Any:
            found = publish(transaction, **written)
            if "memories" in written:
                rows = con.store.memories.to_table(columns=["tier"])["tier"].to_pylist()
                commits.append({tier: rows.count(tier) for tier in set(rows)})
            return found

        monkeypatch.setattr(Transaction, "publish", noted)
        if how == "reword":
            con.update(ids[0], text="The Kestrel was sold in March.")
        else:
            getattr(con, how)(ids[0])
        assert tiers(con) == {"short": len(BOAT) - (how != "reword")}
        assert commits and all(each in (before, tiers(con)) for each in commits)


def test_what_cannot_be_embedded_again_is_not_half_forgotten(
    open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        con.consolidate()
        con.compress()
        before = con.execute("SELECT memory_id, tier FROM memories ORDER BY ALL").fetchall()

        def gone(*_: object) -> None:
            raise aios_db.ModelNotFoundError("the model is gone")

        monkeypatch.setattr("aios_db.store.embedding.embed_missing", gone)
        with pytest.raises(aios_db.ModelNotFoundError):
            con.forget(ids[0])
        assert con.execute("SELECT memory_id, tier FROM memories ORDER BY ALL").fetchall() == before


def test_undoing_a_consolidation_leaves_a_later_ones_sources_alone(open_database: Open) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        [first] = con.consolidate()
        con.forget(ids[0])
        assert tiers(con) == {"short": len(BOAT) - 1}
        [second] = con.consolidate()
        there = tiers(con)
        con.undo_consolidation(first)
        assert tiers(con) == there and there["archived"] == len(BOAT) - 1
        con.undo_consolidation(second)
        assert tiers(con) == {"short": len(BOAT) - 1}


def test_a_principle_expires_with_the_first_of_its_sources(open_database: Open) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        con.consolidate()
        con.update(ids[1], expires_at="2020-01-01")
        [(kind, end)] = con.execute(
            "SELECT kind, expires_at FROM memories WHERE kind = 'principle'"
        ).fetchall()
        assert (kind, end) == ("principle", datetime(2020, 1, 1, tzinfo=timezone.utc))
        assert all(each.kind != "principle" for each in con.recall("the mast of the Kestrel"))


def test_a_missing_name_among_sources_hides_no_change(open_database: Open) -> None:
    with open_database() as con:
        first, second = con.remember(["one", "two"])
        made = con.remember({"text": "made", "derived_from": [None, first]})
        con.update(made, derived_from=[None, second])
        rows, _ = con.store.index.made_of([second])
        assert con.store.index.memory_ids(rows).to_pylist() == [made]
        assert con.store.index.made_of([first])[0].tolist() == []


def test_a_principle_that_is_forgotten_beside_a_source_frees_the_others(open_database: Open) -> None:
    with open_database() as con:
        ids = con.remember(BOAT)
        con.consolidate()
        con.forget([ids[0], principle(con)[0]])
        assert tiers(con) == {"short": len(BOAT) - 1}
