"""A statement that writes does all of it or nothing, wherever in it the call stands and whoever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import aios_db
from aios_db.config import Config
from aios_db.cursor import Cursor
from aios_db.schema.config import StorageConfig

pytestmark = pytest.mark.sql

# {call} is a SELECT item, {table} the table function of a list of two.
SHAPES = [
    "SELECT {call} AS r",
    "SELECT {call} AS r FROM range(3)",
    "SELECT {call} AS r FROM range(3) LIMIT 2",
    "SELECT {call} AS r FROM range(3) WHERE range > 5",
    "SELECT {call} AS r, 1 / (range - range) FROM range(3)",
    "SELECT {call} AS r, error('no') FROM range(3)",
    "SELECT {call} AS r UNION ALL SELECT 'a'",
    "WITH s AS (SELECT {call} AS r) SELECT 1 FROM s",
    "SELECT count({call})",
    "INSERT INTO mine SELECT {call}::VARCHAR",
    "CREATE TABLE other AS SELECT {call} AS r",
    "INSERT INTO memories (text) SELECT 'b' FROM (SELECT {call})",
    "FROM {table}",
    "FROM {table} LIMIT 0",
    "FROM {table} LIMIT 1",
    "FROM {table} WHERE false",
    "FROM {table} WHERE random() > 2",
    "SELECT count(*) FROM {table}",
    "SELECT 1 FROM {table}",
    "SELECT error('no') FROM {table}",
    "SELECT columns(*)::VARCHAR::DATE FROM {table}",
    "FROM {table} UNION ALL (FROM {table} WHERE false)",
    "FROM {table} UNION ALL FROM {table}",
    "FROM {table} a, {table} b",
    "FROM (SELECT 1 WHERE random() > 2), {table}",
    "SELECT * FROM range(0) LEFT JOIN {table} ON true",
    "WITH s AS (FROM {table}) SELECT 1",
    "WITH s AS (FROM {table}) FROM s x, s y",
    "WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s, {table} WHERE n < 3) FROM s",
    "SELECT EXISTS (FROM {table})",
    "SELECT (SELECT count(*) FROM {table}) FROM range(3)",
    "SELECT {call} AS r FROM {table}",
    "SELECT CASE WHEN random() > 2 THEN (SELECT count(*) FROM {table}) END",
    "SELECT CASE WHEN random() < 2 THEN 1 ELSE (SELECT count(*) FROM {table}) END",
    "INSERT INTO mine SELECT columns(*)::VARCHAR FROM {table}",
    "INSERT INTO mine SELECT 'x' FROM {table} WHERE false",
    "CREATE TABLE other AS FROM {table}",
    "CREATE TABLE other AS FROM {table} WHERE false",
    "INSERT INTO memories (text) SELECT 'b' FROM {table}",
    "UPDATE memories SET tier = 'long' WHERE EXISTS (FROM {table})",
    "DELETE FROM memories WHERE EXISTS (FROM {table})",
    "EXPLAIN FROM {table}",
    "EXPLAIN ANALYZE FROM {table}",
    "PREPARE p AS FROM {table}",
    "COPY (FROM {table}) TO '{path}'",
    "PIVOT (SELECT 1 AS n, 'k' AS k FROM {table}) ON k USING sum(n)",
]
SOME = [*SHAPES[:3], *SHAPES[12:15], "SELECT count(*) FROM {table}", *SHAPES[18::4]]
FUNCTIONS: dict[str, tuple[str, str, Callable[[Any], tuple[int, int]]]] = {
    "remember": (
        "remember('new ' || random())",
        "remember_all([{{text: 'n' || random()}}, {{text: 'm' || random()}}])",
        lambda beside: (_count(beside, "memories WHERE text <> 'b'") - 4, 0),
    ),
    "forget": (
        "forget((SELECT memory_id FROM memories WHERE text = 'one'))",
        "forget_all(['{one}', '{two}'])",
        lambda beside: (2 - _count(beside, "memories WHERE text IN ('one', 'two')"), 0),
    ),
    "link": (
        "link('{three}', '{four}', kind := 'k' || random())",
        "link_all([{{source_id: '{three}', target_id: '{four}', kind: 'k' || random()}},"
        " {{source_id: '{four}', target_id: '{three}', kind: 'k' || random()}}])",
        lambda beside: (_count(beside, "association_links WHERE starts_with(kind, 'k')"), 0),
    ),
}
HOW = {
    "execute": lambda con, sql: con.execute(sql).fetchall(),
    "sql": lambda con, sql: getattr(con.sql(sql), "fetchall", list)(),
    "executemany": lambda con, sql: con.executemany(sql, [[]]),
}


def _count(beside: Cursor, where: str) -> int:
    return int(beside.execute(f"SELECT count(*) FROM {where}").fetchone()[0])


@pytest.fixture
def con(tmp_path: Path) -> Iterator[aios_db.Connection]:
    """A database that does not wait for the disk, since many statements are tried on it."""
    config = Config(storage=StorageConfig(durability="normal"))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
        yield connection


@pytest.mark.parametrize(
    ("function", "how"),
    [*((function, "execute") for function in FUNCTIONS), ("remember", "sql"), ("link", "executemany")],
)
def test_a_statement_writes_all_or_nothing(
    con: aios_db.Connection, tmp_path: Path, function: str, how: str
) -> None:
    con.execute("CREATE TABLE mine (x VARCHAR)")
    names = dict(
        zip(["one", "two", "three", "four"], con.remember(["one", "two", "three", "four"]), strict=True)
    )
    call, table, written_by = FUNCTIONS[function]
    beside = con.cursor()
    done = set()
    for shape in SHAPES if how == "execute" else SOME:
        con.execute("DROP TABLE IF EXISTS other; DELETE FROM mine")
        before, tables = written_by(beside)[0], _count(beside, "memories")
        filled = shape.format(
            call=call.format(**names), table=table.format(**names), path=tmp_path / "out.csv"
        )
        at_once, one = "{table}" in shape, "{call}" in shape
        failed = None
        try:
            rows = HOW[how](con, filled)
        except (aios_db.Error, duckdb.Error) as error:
            failed = error
        written = written_by(beside)[0] - before
        if failed is not None:
            assert written == 0, (filled, how, failed)
            assert _count(beside, "memories") == tables
            assert con.execute("FROM mine").fetchall() == []
        elif shape.startswith("EXPLAIN"):
            assert written == 0, (filled, how)
        else:
            done.add(shape)
            if function != "forget" and at_once and not one:
                assert written == 2, (filled, how)
            elif function == "remember" and how != "executemany":
                assert written == len(rows), (filled, how)
        if function == "forget" and written:
            con.execute("DELETE FROM memories WHERE text IN ('one', 'two')")
            names |= zip(["one", "two"], con.remember(["one", "two"]), strict=True)
    assert {"FROM {table}", "FROM {table} LIMIT 1", "SELECT count(*) FROM {table}"} <= done
    assert {"SELECT {call} AS r", "SELECT {call} AS r FROM range(3) LIMIT 2"} <= done


def test_two_functions_in_one_statement_are_refused(con: aios_db.Connection) -> None:
    ids = con.remember(["a", "b"])
    for sql in (
        f"SELECT remember('c'), link('{ids[0]}', 'nobody')",
        f"SELECT forget('{ids[0]}'), remember('c')",
        f"SELECT remember('c') FROM forget_all(['{ids[0]}'])",
        f"SELECT 1 FROM remember_all([{{text: 'c'}}]), forget_all(['{ids[0]}'])",
    ):
        with pytest.raises(aios_db.NotSupportedError, match="one commit"):
            con.execute(sql)
    assert con.execute("SELECT text FROM memories ORDER BY ALL").fetchall() == [("a",), ("b",)]


def test_a_statement_that_fails_after_its_list_has_not_written_it(con: aios_db.Connection) -> None:
    with pytest.raises(aios_db.Error):
        con.execute("SELECT memory_id::INTEGER FROM remember_all([{text: 'a'}])")
    assert con.execute("FROM memories").fetchall() == []
    ((memory_id,),) = con.execute("FROM remember_all([{text: 'a'}])").fetchall()
    assert con.execute("SELECT memory_id FROM memories").fetchall() == [(memory_id,)]
