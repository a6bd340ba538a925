"""A call of remember_all or its like that DuckDB leaves out of its plan is an error."""

from __future__ import annotations

import pytest

import aios_db
from aios_db.sql import writes

pytestmark = pytest.mark.sql

LOST = [
    "FROM remember_all([{text: 'a'}]) WHERE false",
    "FROM remember_all([{text: 'a'}]) LIMIT 0",
    "SELECT count(*) FROM (FROM remember_all([{text: 'a'}]) LIMIT 0)",
    "FROM (SELECT 1 LIMIT 0), remember_all([{text: 'a'}])",
    "FROM forget_all(['x']) WHERE 1 = 2",
    "FROM update_all([{memory_id: 'x', tier: 'long'}]) LIMIT 0",
    "FROM link_all([{source_id: 'x', target_id: 'y'}]) LIMIT 0",
    "FROM remember_all([{text: 'b'}]) UNION ALL (FROM remember_all([{text: 'a'}]) WHERE false)",
]
MADE = [
    "FROM remember_all([{text: 'a'}])",
    "SELECT count(*) FROM (FROM remember_all([{text: 'a'}]))",
    "FROM remember_all([{text: 'a'}]) WHERE memory_id = 'none'",
    "WITH s AS (FROM remember_all([{text: 'a'}])) FROM s x, s y",
]


@pytest.mark.parametrize("sql", LOST)
def test_a_call_that_is_left_out_is_an_error(con: aios_db.Connection, sql: str) -> None:
    with pytest.raises(aios_db.NotSupportedError, match="left the call out"):
        con.execute(sql)
    with pytest.raises(aios_db.NotSupportedError, match="left the call out"):
        con.sql(sql)
    assert con.execute("FROM memories").fetchall() == []


@pytest.mark.parametrize("sql", MADE)
def test_a_call_that_is_made_is_none(con: aios_db.Connection, sql: str) -> None:
    con.execute(sql).fetchall()
    assert con.execute("SELECT text FROM memories").fetchall() == [("a",)]


def test_internal_names_are_refused(con: aios_db.Connection) -> None:
    memory_id = con.remember("a")
    con.begin()
    with pytest.raises(aios_db.Error):
        con.execute("SELECT aios_forget_all([?], 'token')", [memory_id]).fetchall()
    con.rollback()
    with pytest.raises(aios_db.ProgrammingError):
        con.execute("SELECT aios_forget_all([?])", [memory_id])
    assert con.execute("SELECT text FROM memories").fetchall() == [("a",)]


@pytest.mark.parametrize(
    "sql", ['SELECT "FORGET" (memory_id)', "SELECT list(forget/**/(memory_id))", "SELECT erase\n(memory_id)"]
)
def test_a_call_is_found_however_it_is_written(con: aios_db.Connection, sql: str) -> None:
    memory_id = con.remember("a")
    with pytest.raises(aios_db.NotSupportedError, match="an output column"):
        con.execute(f"SELECT 1 FROM ({sql} AS gone FROM memories) WHERE gone IS NULL LIMIT 0")
    assert con.get(memory_id) is not None


def test_no_statement_is_parsed_for_a_column_that_only_begins_like_a_call(
    con: aios_db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    con.remember("a")
    monkeypatch.setattr(writes, "tree_of", lambda *given: pytest.fail(f"parsed {given[1]}"))
    assert [each.text for each in con.recall("a")] == ["a"]
    assert con.execute("SELECT superseded_by, 1 AS links FROM memories").fetchall() == [(None, 1)]


VALUES = [
    "SELECT text FROM memories WHERE forget(memory_id)",
    "SELECT text FROM memories ORDER BY forget(memory_id)",
    "SELECT forget(memory_id) FROM memories UNION ALL SELECT true",
    "SELECT CASE WHEN forget(memory_id) THEN 1 END FROM memories",
    "SELECT count(*) FROM memories GROUP BY session_id HAVING bool_or(forget(memory_id))",
]


@pytest.mark.parametrize("sql", VALUES)
def test_a_call_that_is_computed_with_is_refused(con: aios_db.Connection, sql: str) -> None:
    con.remember("a")
    with pytest.raises(aios_db.NotSupportedError, match="forget: a statement writes what it returns"):
        con.execute(sql).fetchall()
    assert con.execute("SELECT text FROM memories").fetchall() == [("a",)]
