"""The log of consolidations follows what becomes of principles, at a cost that does not grow with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from lifecycle_helpers import turns

import aios_db
from aios_db.lifecycle.log import ConsolidationLog
from aios_db.schema.consolidation_log import TABLE
from aios_db.schema.database import ERASING
from aios_db.store import erasure

Open = Callable[..., aios_db.Connection]


def states(con: aios_db.Connection) -> list[str]:
    return [state for (state,) in con.execute("SELECT DISTINCT state FROM consolidation_log").fetchall()]


def test_undo_reads_of_the_log_what_it_touches(open_database: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    rows = ConsolidationLog.rows
    with open_database() as con:
        con.remember(turns())
        [made] = con.consolidate()
        log = con.store.consolidations
        [entry] = log.rows()
        log.write([replace(entry, consolidation_id=str(uuid4()), principles=[]) for _ in range(500)])

        def counted(self: ConsolidationLog, where: str | None = None) -> list[object]:
            found = rows(self, where)
            read.append(len(found))
            return list(found)

        monkeypatch.setattr(ConsolidationLog, "rows", counted)
        con.remember("The kettle is red.")
        con.undo(con.history(1)[0])
        assert sum(read) == 0
        con.undo_consolidation(made)
        undone = con.history(1)[0]
        con.undo(undone)
        assert log.get(str(made.consolidation_id)).state == "committed"
        con.undo(con.history(1)[0])
        assert log.get(str(made.consolidation_id)).state == "undone"
        assert sum(read) <= 8


def test_what_is_erased_is_in_no_row_of_the_log(open_database: Open) -> None:
    with open_database() as con:
        for user in ("wilhelmina", "bo"):
            con.remember(turns(user_id=user))
        con.consolidate()
        before = con.execute("SELECT memory_id FROM memories WHERE user_id = 'wilhelmina'").fetchall()
        con.erase(user_id="wilhelmina")
        assert con.execute("SELECT DISTINCT user_id FROM consolidation_log").fetchall() == [("bo",)]
        assert states(con) == ["committed"]
        first = con.execute("SELECT memory_id FROM memories WHERE tier = 'archived' LIMIT 1").fetchall()[0][0]
        con.erase(first)
        [(sources,)] = con.execute("SELECT sources FROM consolidation_log").fetchall()
        assert first not in sources and len(sources) == 14
        table = con.store.path / f"{TABLE}.lance"
        gone = [name.encode() for (name,) in before] + [first.encode(), b"wilhelmina"]
        found, where = erasure.scan(table, gone)
        assert found > 0 and where == ()


def test_an_erasure_that_was_broken_off_is_finished_by_who_opens_next(
    open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "The secret word is heliotrope."

    def broken(*_: object) -> object:
        raise KeyboardInterrupt

    with open_database() as con:
        con.remember([secret, "The kettle is red."])
        path = con.store.path
        with monkeypatch.context() as patched:
            patched.setattr("aios_db.store.erasing.erasure.rewrite", broken)
            with pytest.raises(KeyboardInterrupt):
                con.erase(con.recall("secret word", 1)[0])
        con.store.abandon()
        assert (path / ERASING).exists()
    assert ERASING in {fault.where for fault in aios_db.check(path).faults}
    with open_database() as con:
        assert not (path / ERASING).exists()
        assert con.execute("SELECT text FROM memories").fetchall() == [("The kettle is red.",)]
        assert erasure.scan(path, [secret.encode()])[1] == ()


def test_no_principle_is_made_of_small_talk(open_database: Open) -> None:
    said = ["Haha ok, see you!", "Thanks, bye!", "See you soon!", "Ok great, thanks!", "Good night!"]
    with open_database() as con:
        con.remember([{"text": text, "session_id": "s"} for text in said])
        assert con.execute("SELECT count(*) FROM consolidation_plan()").fetchall() == [(1,)]
        assert con.consolidate() == []
        con.remember([{"text": "The ferry to Bergen leaves at 6:45.", "session_id": "s"}])
        [made] = con.consolidate()
        assert made.clusters == 1


def test_a_log_of_several_consolidations_is_erased_from_and_forced(open_database: Open) -> None:
    with open_database({"storage": {"durability": "full"}}) as con:
        for user in ("wilhelmina", "bo"):
            con.remember(turns(user_id=user))
        for made in con.consolidate():
            con.undo_consolidation(made)
        con.consolidate()
        assert con.erase(user_id="wilhelmina").memories == 18
        assert con.execute("SELECT DISTINCT user_id FROM consolidation_log").fetchall() == [("bo",)]
        assert not (con.store.path / "erase.begun").exists()
        assert con.erase(user_id="bo").memories == 18
        assert con.execute("SELECT count(*) FROM consolidation_log").fetchall() == [(0,)]
