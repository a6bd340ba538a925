"""What was changed, asked in SQL, Python and the shell; and the question before much is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aios_db
from aios_db.config import Config
from aios_db.schema.config import StorageConfig

pytestmark = pytest.mark.sql

VECTOR = np.eye(384, dtype=np.float32)


def _remember(con: aios_db.Connection, count: int) -> list[str]:
    rows = [{"text": f"text {each}", "text_embedding": VECTOR[each].tolist()} for each in range(count)]
    return list(con.remember(rows))


def test_changes_tells_the_statement_without_its_values(con: aios_db.Connection) -> None:
    ids = _remember(con, 6)
    con.execute("DELETE FROM memories WHERE text = 'text 0' -- text 0")
    con.execute("SELECT 1; SELECT forget(memory_id) FROM memories WHERE text = ?", ["text 1"]).fetchall()
    con.sql("FROM forget_all(['" + ids[2] + "'])").fetchall()
    con.executemany("UPDATE memories SET tier = ? WHERE memory_id = ?", [["long", ids[3]], ["long", ids[4]]])
    con.link(ids[3], ids[4])
    found = con.execute("SELECT call, statement, added, updated, deleted, links FROM changes").fetchall()
    assert found == [
        ("remember", None, 6, 0, 0, 0),
        ("forget", "DELETE FROM memories WHERE text = ?", 0, 0, 1, 0),
        ("forget", "SELECT forget (memory_id) FROM memories WHERE text = ?", 0, 0, 1, 0),
        ("forget", "FROM forget_all ([?])", 0, 0, 1, 0),
        ("update", "UPDATE memories SET tier = ? WHERE memory_id = ?", 0, 2, 0, 0),
        ("link", None, 0, 0, 0, 1),
    ]
    assert [each.call for each in con.history(2)] == ["link", "update"]
    assert [each.change_id for each in con.history()] == [6, 5, 4, 3, 2, 1]
    assert con.history(0) == []
    with pytest.raises(aios_db.ProgrammingError, match="limit is -1"):
        con.history(-1)
    named = "SELECT change_id FROM changes WHERE changed_at > now() - INTERVAL 1 DAY AND process_id > 0"
    assert len(con.execute(named).fetchall()) == 6
    with pytest.raises(aios_db.NotSupportedError, match="changes is a view of the database"):
        con.execute("DROP VIEW changes")


@pytest.mark.parametrize(
    ("delete", "confirmed"),
    [
        (lambda con: con.forget(source="x"), lambda con: con.forget(source="x", confirm=True)),
        (
            lambda con: con.execute("DELETE FROM memories").fetchall(),
            lambda con: con.execute("SELECT forget(memory_id, confirm := true) FROM memories").fetchall(),
        ),
        (
            lambda con: con.execute("SELECT forget(memory_id) FROM memories").fetchall(),
            lambda con: con.execute("SELECT forget(memory_id, confirm := ?) FROM memories", [True]),
        ),
        (
            lambda con: con.execute(
                "FROM forget_all((SELECT list(memory_id) FROM memories), confirm := NULL)"
            ).fetchall(),
            lambda con: con.execute(
                "FROM forget_all((SELECT list(memory_id) FROM memories), confirm := true)"
            ).fetchall(),
        ),
    ],
)
def test_much_is_deleted_when_it_is_confirmed(
    tmp_path: Path, delete: Callable[[Any], object], confirmed: Callable[[Any], object]
) -> None:
    config = Config(storage=StorageConfig(confirm_forget=3))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as con:
        ids = _remember(con, 4)
        con.update([{"memory_id": each, "source": "x"} for each in ids])
        with pytest.raises(aios_db.ProgrammingError, match=r"would delete 4 memories, more than 3"):
            delete(con)
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(4,)]
        assert con.history()[0].call == "update"
        assert con.forget(ids[:0]) == 0
        confirmed(con)
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(0,)]
        assert con.forget(_remember(con, 3)) == 3  # as many as need no confirmation
        assert con.erase(_remember(con, 4)).memories == 4


def test_zero_never_asks(tmp_path: Path) -> None:
    config = Config(storage=StorageConfig(confirm_forget=0))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as con:
        assert con.forget(_remember(con, 5)) == 5


def test_an_attached_connection_has_the_view(tmp_path: Path) -> None:
    import duckdb

    with aios_db.connect(tmp_path / "agent.aios") as con:
        ids = _remember(con, 2)
    with duckdb.connect() as own:
        aios_db.attach(own, tmp_path / "agent.aios", schema="aios")
        own.execute("FROM aios.forget_all([?])", [ids[0]]).fetchall()
        assert own.execute("SELECT call, deleted FROM aios.changes ORDER BY change_id").fetchall() == [
            ("remember", 0),
            ("forget", 1),
        ]
        aios_db.detach(own)
    with duckdb.connect() as own:
        own.execute("CREATE TABLE changes (a INTEGER)")
        with pytest.raises(aios_db.ProgrammingError, match="already has a table 'changes'"):
            aios_db.attach(own, tmp_path / "agent.aios")
