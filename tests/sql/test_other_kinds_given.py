"""What is given to a call and is of another kind than it takes is refused as PEP 249 has it, and told."""

from __future__ import annotations

import copy
import pickle
import uuid
from collections.abc import Callable
from typing import Any

import pytest

import aios_db

CALLS: dict[str, Callable[[Any, Any], object]] = {
    "execute": lambda con, given: con.execute(given),
    "executemany": lambda con, given: con.executemany(given, [[1]]),
    "sql": lambda con, given: con.sql(given),
    "fetchmany": lambda con, given: con.execute("FROM range(3)").fetchmany(given or "a"),
    "history": lambda con, given: con.history(given or "a"),
    "release": lambda con, given: con.release(given),
    "audit": lambda con, given: con.audit(given),
    "link": lambda con, given: con.link(given, "a"),
    "export": lambda con, given: con.export(given),
    "backup": lambda con, given: con.backup(given),
    "connect": lambda con, given: aios_db.connect(given),
}


@pytest.mark.parametrize("given", [None, b"a", 1.5, [1]], ids=repr)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_of_another_kind_is_refused(con: aios_db.Connection, call: str, given: object) -> None:
    with pytest.raises(aios_db.ProgrammingError) as caught:
        CALLS[call](con, given)
    assert any(shown in str(caught.value) for shown in (repr(given), "'a'", "1 is no memory_id"))


def test_what_is_open_is_not_copied(con: aios_db.Connection) -> None:
    for opened in (con, con.cursor()):
        for how in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied or pickled; open another"):
                how(opened)


def test_a_closed_connection_is_not_warmed(con: aios_db.Connection) -> None:
    con.close()
    with pytest.raises(aios_db.InterfaceError, match="the connection is closed"):
        con.warm()


def test_a_memory_stands_for_its_id(con: aios_db.Connection) -> None:
    one, other = (con.get(each) for each in con.remember(["tea", "rain"]))
    assert one is not None and other is not None
    con.link(one, uuid.UUID(other.memory_id), weight=0.25)  # type: ignore[arg-type]
    audit = con.audit(other)  # type: ignore[arg-type]
    assert audit is not None and [each.weight for each in audit.links if each.kind == "user"] == [0.25]
    assert con.update(one, tier="long") == con.update(uuid.UUID(other.memory_id), tier="long") == 1
    assert con.execute("SELECT DISTINCT tier FROM memories").fetchall() == [("long",)]
