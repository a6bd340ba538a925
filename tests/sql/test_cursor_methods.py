"""Every way to take a result, of every kind of statement, on both DuckDB versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import aios_db

pytestmark = pytest.mark.sql

SETUP = """
    CREATE TABLE t (a INTEGER, b VARCHAR);
    INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, NULL);
    CREATE MACRO plus(n) AS n + 1;
    PREPARE three AS SELECT a, b FROM t ORDER BY a;
    PREPARE add AS INSERT INTO t VALUES ($1, 'new');
"""
VECTOR = "[0.1 * i, 1.0] || list_value(0.0).list_resize(382, 0.0)"
NOTES = f"SELECT 'note ' || i, {VECTOR} FROM range(2) t(i)"
MEMORIES = f"INSERT INTO memories (text, text_embedding) SELECT 'memory ' || i, {VECTOR} FROM range(2) t(i)"
PAIR = "SELECT a.memory_id, b.memory_id FROM memories a, memories b WHERE a.text < b.text"
# Statement, rows, rowcount. None for no result, which only no statement has.
STATEMENTS: dict[str, tuple[str, list[tuple[Any, ...]] | None, int]] = {
    "select": ("SELECT a, b FROM t ORDER BY a", [(1, "x"), (2, "y"), (3, None)], -1),
    "from first": ("FROM t ORDER BY a LIMIT 1", [(1, "x")], -1),
    "values": ("VALUES (1, 'a'), (2, 'b')", [(1, "a"), (2, "b")], -1),
    "no rows": ("SELECT a FROM t WHERE a > 9", [], -1),
    "macro": ("SELECT plus(a) FROM t ORDER BY a", [(2,), (3,), (4,)], -1),
    "cte": ("WITH s AS (SELECT a FROM t) SELECT sum(a)::INT FROM s", [(6,)], -1),
    "union": ("SELECT 1 UNION ALL SELECT 2", [(1,), (2,)], -1),
    "equal names": ("SELECT 1 AS a, 2 AS a", [(1, 2)], -1),
    "a column called Count": ('SELECT 7::BIGINT AS "Count"', [(7,)], -1),
    "insert": ("INSERT INTO t VALUES (4, 'z'), (5, 'z')", [(2,)], 2),
    "insert returning": ("INSERT INTO t VALUES (4, 'z') RETURNING a, b", [(4, "z")], -1),
    "returning Count": ('INSERT INTO t VALUES (4, \'z\') RETURNING a::BIGINT AS "Count"', [(4,)], -1),
    "name returning": ("INSERT INTO t SELECT 4 AS returning, 'z'", [(1,)], 1),
    "update": ("UPDATE t SET b = 'w' WHERE a > 1", [(2,)], 2),
    "update returning": ("UPDATE t SET b = 'w' WHERE a = 1 RETURNING b, a", [("w", 1)], -1),
    "delete": ("DELETE FROM t WHERE a = 1", [(1,)], 1),
    "delete returning": ("DELETE FROM t WHERE a = 1 RETURNING *", [(1, "x")], -1),
    "merge": (
        "MERGE INTO t USING (SELECT 1 AS a) s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 'm'",
        [(1,)],
        1,
    ),
    "truncate": ("TRUNCATE t", [(3,)], 3),
    "create": ("CREATE TABLE u (a INTEGER)", [], -1),
    "create as": ("CREATE TABLE u AS SELECT a FROM t", [(3,)], 3),
    "create view": ("CREATE VIEW v AS SELECT a FROM t", [], -1),
    "create macro": ("CREATE MACRO m(x) AS x", [], -1),
    "alter": ("ALTER TABLE t ADD COLUMN c INTEGER", [], -1),
    "drop": ("DROP TABLE t", [], -1),
    "copy to": ("COPY t TO '{file}'", [(3,)], 3),
    "set": ("SET threads = 2", [], -1),
    "reset": ("RESET threads", [], -1),
    "set variable": ("SET VARIABLE v = 3", [], -1),
    "pragma": ("PRAGMA database_size", ..., -1),  # type: ignore[dict-item]
    "call": ("CALL duckdb_variables()", [], -1),
    "explain": ("EXPLAIN SELECT 1", ..., -1),  # type: ignore[dict-item]
    "describe": ("DESCRIBE SELECT 1 AS a", [("a", "INTEGER", "YES", None, None, None)], -1),
    "show": ("SHOW TABLES", ..., -1),  # type: ignore[dict-item]
    "summarize": ("SUMMARIZE SELECT 1 AS a", ..., -1),  # type: ignore[dict-item]
    "prepare": ("PREPARE p AS SELECT 1", [], -1),
    "execute": ("EXECUTE three", [(1, "x"), (2, "y"), (3, None)], -1),
    "execute insert": ("EXECUTE add(9)", [(1,)], -1),
    "deallocate": ("DEALLOCATE three", [], -1),
    "attach": ("ATTACH ':memory:' AS other", [], -1),
    "begin": ("BEGIN", [], -1),
    "several": ("CREATE TABLE u (a INTEGER); INSERT INTO u VALUES (1); SELECT a FROM u", [(1,)], -1),
    "several, the last without rows": ("SELECT 1; INSERT INTO t VALUES (8, 'q')", [(1,)], 1),
    "nothing": ("", None, -1),
    "a comment": ("-- nothing", None, -1),
    "remember": ("SELECT forget('no such memory') AS f", [(False,)], -1),
    "two writes": ("SELECT forget(b) AS f, a, forget(NULL) AS f FROM t WHERE a < 3 ORDER BY a",
                   [(False, 1, None), (False, 2, None)], -1),
    "a write without rows": ("SELECT forget(b) FROM t WHERE a > 9", [], -1),
    "forget_all": ("FROM forget_all(['no such memory'])", [(0,)], -1),
    "insert into memories": (f"INSERT INTO memories (text, text_embedding) {NOTES}", [(2,)], 2),
    "insert into memories returning": (f"INSERT INTO memories (text, text_embedding) {NOTES} RETURNING text",
                                       [("note 0",), ("note 1",)], -1),
    "update memories": ("UPDATE memories SET tier = 'long' WHERE text > 'memory 0'", [(1,)], 1),
    "delete from memories": ("DELETE FROM memories WHERE text < 'n'", [(2,)], 2),
    "truncate memories": ("TRUNCATE memories", [(2,)], 2),
    "delete no memories": ("DELETE FROM memories WHERE false", [(0,)], 0),
    "insert links": (f"INSERT INTO association_links (source_id, target_id) {PAIR}", [(1,)], 1),
    "update links": ("UPDATE association_links SET weight = 0.5 WHERE kind = 'derived_from'", [(0,)], 0),
    "delete links": ("DELETE FROM association_links WHERE kind = 'derived_from'", [(0,)], 0),
}  # fmt: skip


def one_by_one(cursor: aios_db.Cursor) -> list[tuple[Any, ...]]:
    rows = []
    while (row := cursor.fetchone()) is not None:
        rows.append(row)
    assert cursor.fetchone() is None
    return rows


def by_two(cursor: aios_db.Cursor) -> list[tuple[Any, ...]]:
    rows = []
    while some := cursor.fetchmany(2):
        assert len(some) <= 2
        rows += some
    return rows


def of_arrow(cursor: aios_db.Cursor) -> list[tuple[Any, ...]]:
    table = cursor.arrow()
    columns = [column.to_pylist() for column in table.columns]
    return list(zip(*columns, strict=True))


def of_pandas(cursor: aios_db.Cursor) -> list[tuple[Any, ...]]:
    frame = cursor.df()
    columns = [frame.iloc[:, place].astype(object).tolist() for place in range(frame.shape[1])]
    return [
        tuple(None if pd.isna(value) is True else value for value in row)
        for row in zip(*columns, strict=True)
    ]


def of_polars(cursor: aios_db.Cursor) -> list[tuple[Any, ...]]:
    return cursor.pl().rows()


def mixed(cursor: aios_db.Cursor) -> list[tuple[Any, ...]]:
    first = cursor.fetchone()
    return ([] if first is None else [first]) + cursor.fetchmany(1) + cursor.fetchall()


TAKES: dict[str, Callable[[aios_db.Cursor], list[tuple[Any, ...]]]] = {
    "fetchall": aios_db.Cursor.fetchall,
    "fetchone": one_by_one,
    "fetchmany": by_two,
    "iteration": list,
    "arrow": of_arrow,
    "df": of_pandas,
    "pl": of_polars,
    "mixed": mixed,
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_every_way_to_take_every_result(con: aios_db.Connection, kind: str, tmp_path: Path) -> None:
    sql, expected, rowcount = STATEMENTS[kind]
    sql = sql.replace("{file}", str(tmp_path / "out.csv"))
    cursor = con.cursor()
    for take in TAKES.values():
        cursor.execute(SETUP)
        if "memories" in sql or "links" in sql:
            cursor.execute(f"DELETE FROM memories; {MEMORIES}")
        assert cursor.execute(sql) is cursor
        assert cursor.rowcount == rowcount
        if expected is None:
            assert cursor.description is None
            with pytest.raises(aios_db.ProgrammingError, match="no result"):
                take(cursor)
        else:
            rows = take(cursor)
            assert expected is ... or rows == expected
            if cursor.description is None:
                assert rows == []
            else:
                assert all(len(column) == 7 for column in cursor.description)
                assert not rows or len(rows[0]) == len(cursor.description)
            assert cursor.fetchall() == []
        cursor.rollback()
        cursor.execute("DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS u; DROP MACRO plus")
        cursor.execute("DROP VIEW IF EXISTS v; DROP MACRO IF EXISTS m; DETACH DATABASE IF EXISTS other")
        cursor.execute("DEALLOCATE three; DEALLOCATE add; DEALLOCATE p; RESET VARIABLE v")


@pytest.mark.parametrize("kind", STATEMENTS)
def test_every_statement_runs_many_times(con: aios_db.Connection, kind: str, tmp_path: Path) -> None:
    sql, _, rowcount = STATEMENTS[kind]
    if kind in {
        "create",
        "create as",
        "create view",
        "create macro",
        "alter",
        "drop",
        "several",
        "attach",
        "begin",
    }:
        pytest.skip("twice is an error")
    if kind in {"prepare", "deallocate"}:
        pytest.skip("its name is taken, or gone, the second time")
    cursor = con.cursor()
    cursor.execute(SETUP)
    sql = sql.replace("{file}", str(tmp_path / "out.csv"))
    assert cursor.executemany(sql, [[], []]) is cursor
    assert cursor.description is None
    if rowcount < 0:
        assert cursor.rowcount == -1
    with pytest.raises(aios_db.ProgrammingError, match="no result"):
        cursor.fetchall()


def test_parameters_reach_every_kind(con: aios_db.Connection) -> None:
    con.execute(SETUP)
    assert con.executemany("INSERT INTO t VALUES (?, ?)", [[7, "p"], [8, "q"]]).rowcount == 2
    assert (
        con.executemany("UPDATE t SET b = $b WHERE a = $a", [{"a": 7, "b": "r"}, {"a": 9, "b": "s"}]).rowcount
        == 1
    )
    assert con.executemany("DELETE FROM t WHERE a IN (?, ?)", [[7, 8], [1, 2]]).rowcount == 4
    assert con.execute("FROM t").fetchall() == [(3, None)]
    assert con.executemany("SELECT forget(?)", [["x"], ["y"]]).rowcount == -1
    returning = "INSERT INTO memories (text) VALUES (?) RETURNING text"
    assert con.executemany(returning, [["x"], ["y"]]).rowcount == -1  # as in `execute`, and not none
    assert con.executemany(returning, []).rowcount == 0
    assert con.execute("SELECT forget($who), $who", {"who": "x"}).fetchone() == (False, "x")


def test_a_result_that_was_written_can_be_left_unread(con: aios_db.Connection) -> None:
    cursor = con.cursor()
    for _ in range(3):
        cursor.execute("SELECT forget('x') AS f FROM range(3000)").fetchone()
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    relation = cursor.sql("SELECT forget('x') AS f, forget('y') AS f")
    assert relation.fetchall() == relation.fetchall() == [(False, False)]
    assert len(set(relation.columns)) == 2


@pytest.mark.parametrize(
    "value",
    ["1::HUGEINT", "uuid()", "DATE '2024-05-01'", "TIMESTAMPTZ '2024-05-01 10:00:00+02'", "INTERVAL 3 DAY",
     "1.50::DECIMAL(9, 2)", "'a'::ENUM('a', 'b')", "NULL", "[1, 2]", "{'a': 1, 'b c': [NULL]}",
     "MAP {'k': 1}", "'x'::BLOB", "TIME '10:00'", "1.5::FLOAT", "true", "''"],
)  # fmt: skip
def test_values_beside_a_write_keep_their_types(con: aios_db.Connection, value: str) -> None:
    cursor = con.cursor()
    cursor.execute(f"CREATE TABLE v AS SELECT {value} AS v")
    plain = cursor.execute("SELECT v FROM v")
    kind, rows = plain.description[0][1], plain.fetchall()  # type: ignore[index]
    beside = cursor.execute("SELECT v, forget('x') FROM v")
    assert str(beside.description[0][1]) == str(kind)  # type: ignore[index]
    assert beside.fetchall() == [(rows[0][0], False)]


@pytest.mark.parametrize("of", ["connection", "cursor"])
def test_the_further_names_of_duckdb(con: aios_db.Connection, of: str) -> None:
    taker = con if of == "connection" else con.cursor()

    def run() -> Any:
        return taker.execute("SELECT i AS a, DATE '2024-01-02' AS d FROM range(3) t(i)") and taker

    for name in ("df", "fetchdf", "fetch_df", "fetch_df_chunk"):
        frame = getattr(run(), name)()
        assert frame["a"].tolist() == [0, 1, 2]
        assert getattr(run(), name)(date_as_object=True)["d"][0].isoformat() == "2024-01-02"
    for name in ("arrow", "to_arrow_table", "fetch_arrow_table"):
        assert getattr(run(), name)().column("a").to_pylist() == [0, 1, 2]
    for name in ("to_arrow_reader", "fetch_record_batch"):
        assert getattr(run(), name)(2048).read_all().column("a").to_pylist() == [0, 1, 2]
    assert run().fetchnumpy()["a"].tolist() == [0, 1, 2]
    taker.execute("")
    with pytest.raises(aios_db.ProgrammingError, match="no result"):
        taker.fetchnumpy()


def test_a_result_in_chunks(con: aios_db.Connection) -> None:
    con.execute("SELECT i FROM range(5000) t(i)")
    sizes = [len(con.fetch_df_chunk()), len(con.fetch_df_chunk(2)), len(con.fetch_df_chunk())]
    assert sizes == [2048, 2952, 0]


BUSY = "SELECT (SELECT count(*) FROM association_links), (SELECT count(*) FROM memories)"


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_relation_can_be_read_after_every_statement(
    con: aios_db.Connection, kind: str, tmp_path: Path
) -> None:
    """DuckDB 2 lets nothing run beside an unfinished result: what the package asks for itself has to end."""
    sql = STATEMENTS[kind][0].replace("{file}", str(tmp_path / "out.csv"))
    con.execute(SETUP)
    con.execute(MEMORIES)
    con.execute(sql)
    rows = con.sql(BUSY).fetchall()
    assert len(rows) == 1 and len(con.sql(BUSY).fetchall()) == 1
    if kind == "select":
        assert con.sql(sql).fetchall() == STATEMENTS[kind][1]
        assert con.sql(BUSY).fetchall() == rows


def test_the_links_are_shown_on_a_fresh_connection(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "links.aios") as con:
        assert con.sql("SELECT * FROM association_links").fetchall() == []
        assert con.sql("SELECT kind, count(*) FROM association_links GROUP BY ALL").fetchall() == []
    mine = duckdb.connect()
    aios_db.attach(mine, tmp_path / "links.aios")
    assert mine.sql("SELECT * FROM association_links").fetchall() == []
    aios_db.detach(mine)
    assert mine.sql("SELECT 1").fetchall() == [(1,)]
