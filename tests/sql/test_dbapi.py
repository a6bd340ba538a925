"""PEP 249 and DuckDB's habits on one object. Uses vectors given by hand where no model is needed."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import aios_db

pytestmark = pytest.mark.sql


def vectors(count: int, seed: int = 0) -> pa.Array:
    rows = np.random.default_rng(seed).normal(size=(count, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return pa.FixedSizeListArray.from_arrays(rows.ravel(), 384)


def memories(*texts: str, **columns: list[object]) -> pa.Table:
    return pa.table({"text": list(texts), "text_embedding": vectors(len(texts)), **columns})


def test_module_says_what_pep249_asks() -> None:
    assert (aios_db.apilevel, aios_db.threadsafety, aios_db.paramstyle) == ("2.0", 2, "qmark")
    assert issubclass(aios_db.Error, Exception)
    assert issubclass(aios_db.Warning, Warning)
    for name in ("DataError", "OperationalError", "IntegrityError", "InternalError", "ProgrammingError"):
        assert issubclass(getattr(aios_db, name), aios_db.DatabaseError)
        assert getattr(aios_db.Connection, name) is getattr(aios_db, name)
    assert issubclass(aios_db.NotSupportedError, aios_db.DatabaseError)
    assert issubclass(aios_db.InterfaceError, aios_db.Error)
    assert not issubclass(aios_db.InterfaceError, aios_db.DatabaseError)


def test_execute_returns_the_cursor_and_describes_columns_as_seven_tuples(con: aios_db.Connection) -> None:
    cursor = con.cursor()
    assert cursor.execute("SELECT 1 AS a, 'x' AS b") is cursor
    assert [column[0] for column in cursor.description or []] == ["a", "b"]
    assert all(len(column) == 7 for column in cursor.description or [])
    assert cursor.fetchone() == (1, "x")
    assert cursor.fetchone() is None
    assert cursor.rowcount == -1


def test_memories_are_written_without_a_cursor(con: aios_db.Connection) -> None:
    """A cursor has some sixty views and macros, which DuckDB binds one by one."""
    stored = con.remember(memories("a text"))
    con.update(stored[0], text="another", text_embedding=vectors(1)[0].as_py())
    con.forget(stored)
    assert len(con.session.cursors.open()) == 0
    con.begin()
    with pytest.raises(aios_db.NotSupportedError, match="transaction"):
        con.remember(memories("a text"))
    con.rollback()
    con.remember(memories("a text"))


def test_fetchmany_follows_arraysize(con: aios_db.Connection) -> None:
    cursor = con.cursor()
    cursor.execute("SELECT i FROM range(5) t(i)")
    assert cursor.fetchmany() == [(0,)]
    cursor.arraysize = 2
    assert cursor.fetchmany() == [(1,), (2,)]
    assert cursor.fetchmany(10) == [(3,), (4,)]
    assert cursor.fetchmany(10) == []
    with pytest.raises(aios_db.ProgrammingError, match="-1"):
        cursor.fetchmany(-1)


def test_an_unread_result_does_not_stand_in_the_way(con: aios_db.Connection) -> None:
    con.execute("SELECT i FROM range(10000000) t(i)").fetchone()
    assert con.sql("SELECT 1").fetchall() == [(1,)]
    con.execute("SELECT i FROM range(10000000) t(i)").fetchone()
    con.begin()
    con.execute("CREATE TABLE t AS SELECT i FROM range(10000000) t(i)").close()
    with pytest.raises(aios_db.ProgrammingError):
        con.execute("FROM t")


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_registered_frame_joins_what_the_database_holds(con: aios_db.Connection, kind: object) -> None:
    con.remember(memories("tea", "coffee", "milk", session_id=["s", "s", "t"]))
    assert callable(kind)
    con.register("sessions", kind({"session_id": ["s", "t"], "day": [1, 2]}))
    joined = "SELECT text, day FROM memories JOIN sessions USING (session_id) ORDER BY text"
    assert con.execute(joined).fetchall() == [("coffee", 1), ("milk", 2), ("tea", 1)]
    assert con.sql(joined).fetchall()[1] == ("milk", 2)
    con.register("sessions", kind({"session_id": ["t"], "day": [3]}))
    assert con.execute(joined).fetchall() == [("milk", 3)]
    con.unregister("sessions").unregister("sessions")
    with pytest.raises(aios_db.ProgrammingError, match="sessions"):
        con.execute(joined)


def test_what_cannot_be_registered(con: aios_db.Connection) -> None:
    con.remember(memories("tea"))
    with pytest.raises(aios_db.ProgrammingError, match="Memories is a table of the database"):
        con.register("Memories", pd.DataFrame({"a": [1]}))
    with pytest.raises(aios_db.ProgrammingError, match="int"):
        con.register("five", 5)
    with pytest.raises(aios_db.ProgrammingError, match="memories is a table of the database"):
        con.unregister("memories")
    assert con.execute("SELECT text FROM memories").fetchall() == [("tea",)]
    other = con.cursor()
    other.register("mine", pd.DataFrame({"a": [1]}))
    assert other.execute("FROM mine").fetchall() == [(1,)]
    other.close()
    with pytest.raises(aios_db.InterfaceError):
        other.register("mine", pd.DataFrame({"a": [1]}))


def test_cursor_iterates(con: aios_db.Connection) -> None:
    assert [row[0] for row in con.execute("SELECT i FROM range(3) t(i)")] == [0, 1, 2]


def test_parameters_by_position_and_by_name(con: aios_db.Connection) -> None:
    assert con.execute("SELECT ? + ?", [1, 2]).fetchall() == [(3,)]
    assert con.execute("SELECT $a || $b", {"a": "x", "b": "y"}).fetchall() == [("xy",)]
    with pytest.raises(aios_db.Error):
        con.execute("SELECT ?", [])


def test_changed_rows_are_counted_in_rowcount_and_in_the_result(con: aios_db.Connection) -> None:
    cursor = con.cursor()
    cursor.execute("CREATE TABLE t (a INTEGER)")
    assert (cursor.description, cursor.fetchone(), cursor.rowcount) == (None, None, -1)
    assert cursor.execute("INSERT INTO t VALUES (1), (2), (3)").rowcount == 3
    assert [column[0] for column in cursor.description or []] == ["Count"]
    assert (cursor.fetchone(), cursor.fetchone()) == ((3,), None)
    with con.cursor() as never_used, pytest.raises(aios_db.ProgrammingError, match="no result"):
        never_used.fetchone()
    assert cursor.execute("UPDATE t SET a = 0 WHERE a > 1").rowcount == 2
    assert cursor.executemany("INSERT INTO t VALUES (?)", [[7], [8]]).rowcount == 2
    assert cursor.execute("SELECT sum(a) FROM t").fetchone() == (16,)
    assert cursor.execute("INSERT INTO t VALUES (9) RETURNING a").fetchall() == [(9,)]


def test_several_statements_at_once_keep_the_last_result(con: aios_db.Connection) -> None:
    assert con.execute("CREATE TABLE t AS SELECT 1 AS a; SELECT a + ? FROM t", [1]).fetchall() == [(2,)]


def test_transactions_commit_and_roll_back(con: aios_db.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER)")
    con.begin()
    con.execute("INSERT INTO t VALUES (1)")
    con.rollback()
    assert con.execute("SELECT count(*) FROM t").fetchone() == (0,)
    con.execute("-- a comment\nBEGIN TRANSACTION; INSERT INTO t VALUES (1); COMMIT")
    assert con.execute("SELECT count(*) FROM t").fetchone() == (1,)
    con.commit()
    con.rollback()  # without a transaction both do nothing
    con.execute("BEGIN")
    with pytest.raises(aios_db.ProgrammingError, match="open already"):
        con.begin()
    con.execute("/* so */ ROLLBACK")


def test_a_transaction_that_cannot_last_says_so(con: aios_db.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER)")
    for commit in (con.commit, lambda: con.execute("COMMIT")):
        con.begin()
        con.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(aios_db.ProgrammingError):
            con.execute("SELECT error('no')").fetchall()
        with pytest.raises(aios_db.OperationalError, match="rolled back"):
            commit()
        assert con.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_sql_takes_part_in_transactions(con: aios_db.Connection) -> None:
    con.sql("BEGIN")
    con.sql("CREATE TABLE t (a INTEGER)")
    for write in (lambda: con.remember(memories("x")), lambda: con.sql("SELECT remember('x')")):
        with pytest.raises(aios_db.NotSupportedError, match="durable"):
            write()
    con.commit()
    assert con.cursor().execute("SELECT count(*) FROM t").fetchone() == (0,)
    con.begin()
    assert con.sql("INSERT INTO t VALUES (1); COMMIT").fetchall() == []
    con.remember(memories("x"))
    assert con.sql("").fetchall() == []


def test_a_temporary_database_cannot_be_read_only() -> None:
    with pytest.raises(aios_db.ProgrammingError, match="leave read_only out"):
        aios_db.connect(":memory:", read_only=True)


def test_words_in_a_text_are_no_writes(con: aios_db.Connection) -> None:
    con.begin()
    said = "how do I forget (him)? --"
    query = f"SELECT '{said}' /* remember (this) */ AS link -- link ('a', 'b')"
    assert con.execute(query).fetchall() == [(said,)]
    for write in (
        "remember('x')",
        "ReMember ('x')",
        "\"remember\"('x')",
        "forget/* */('x')",
        "main.link(1, 2)",
    ):
        with pytest.raises(aios_db.NotSupportedError, match="durable"):
            con.execute(f"SELECT 'é', {write}")
    con.rollback()


def test_closed_objects_raise_interface_error(tmp_path: Path) -> None:
    con = aios_db.connect(tmp_path / "a.aios")
    cursor = con.cursor()
    cursor.close()
    for call in (lambda: cursor.execute("SELECT 1"), cursor.fetchall, cursor.commit):
        with pytest.raises(aios_db.InterfaceError, match="closed"):
            call()
    con.close()
    con.close()
    calls = (con.cursor, con.commit, lambda: con.execute("SELECT 1"), lambda: con.remember("x"), con.fetchall)
    for call in calls:
        with pytest.raises(aios_db.InterfaceError, match="closed"):
            call()


def test_context_managers_close(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "a.aios") as con, con.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(aios_db.InterfaceError):
        cursor.fetchone()


def test_a_temporary_database_is_gone_afterwards() -> None:
    con = aios_db.connect(":memory:")
    path = con.store.path
    con.remember(memories("one"))
    assert con.execute("SELECT text FROM memories").fetchall() == [("one",)]
    con.close()
    assert not path.exists()


def test_results_as_frames_and_arrow(con: aios_db.Connection) -> None:
    con.remember(memories("one", "two", speaker=["Ada", "Bob"]))
    query = "SELECT text, speaker FROM memories ORDER BY memory_id"
    expected = {"text": ["one", "two"], "speaker": ["Ada", "Bob"]}
    assert con.execute(query).arrow().to_pydict() == expected
    frame = con.execute(query).df()
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("list") == expected
    polars = con.execute(query).pl()
    assert isinstance(polars, pl.DataFrame)
    assert polars.to_dict(as_series=False) == expected
    assert con.sql(query).filter("speaker = 'Bob'").fetchall() == [("two", "Bob")]


def test_frames_keep_columns_of_equal_names(con: aios_db.Connection) -> None:
    query = "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a"
    for frame in (con.execute(query).df(), con.execute(query).pl()):
        assert frame.to_numpy().tolist() == [[1, 2, 3, 4]]
        assert len(set(frame.columns)) == 4
    assert con.execute(query).pl().columns == ["a", "a_2", "a_1", "a_3"]


def test_remember_takes_mappings_tables_and_frames(con: aios_db.Connection) -> None:
    vector = vectors(1).to_pylist()[0]
    first = con.remember(
        [{"text": "a", "text_embedding": vector}, {"text": "b", "text_embedding": vector, "title": "B"}]
    )
    frame = memories("c", "d").to_pandas()
    second = con.remember(frame, session_id="s1")
    third = con.remember(pl.DataFrame({"text": ["e"], "text_embedding": [vector]}))
    rows = con.execute(
        "SELECT memory_id, text, title, session_id FROM memories ORDER BY memory_id"
    ).fetchall()
    ids = [*first, *second, *third]
    assert rows == [
        (ids[0], "a", None, None),
        (ids[1], "b", "B", None),
        (ids[2], "c", None, "s1"),
        (ids[3], "d", None, "s1"),
        (ids[4], "e", None, None),
    ]


@pytest.mark.parametrize(
    ("content", "fields", "error", "match"),
    [
        (7, {}, aios_db.ProgrammingError, "int"),
        ([{"text": "x", "colour": "red"}], {}, aios_db.ProgrammingError, "colour"),
        ([{"text": "x"}], {"text": "y"}, aios_db.ProgrammingError, "text"),
        ([{"text": "x", "importance": "very"}], {}, aios_db.DataError, "importance"),
        ([{"text": "x", "text_embedding": [1.0, 2.0]}], {}, aios_db.DataError, "384"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_written(
    con: aios_db.Connection, content: object, fields: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        con.remember(content, **fields)
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_memories_cannot_be_written_inside_a_transaction(con: aios_db.Connection) -> None:
    con.begin()
    with pytest.raises(aios_db.NotSupportedError, match="durable"):
        con.execute("SELECT remember('x')")
    with pytest.raises(aios_db.NotSupportedError, match="durable"):
        con.remember(memories("x"))
    con.rollback()
    con.remember(memories("x"))
    assert con.execute("SELECT text FROM memories").fetchall() == [("x",)]


def test_a_statement_sees_one_version(con: aios_db.Connection) -> None:
    con.remember(memories("one"))
    relation = con.cursor()
    relation.execute("SELECT text FROM memories")
    con.remember(memories("two", "three"))
    assert relation.fetchall() == [("one",)]
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (3,)


def test_forget_and_link_in_sql_act_without_a_fetch(con: aios_db.Connection) -> None:
    a, b = con.remember(memories("one", "two"))
    con.execute("SELECT link(?, ?, kind := 'user', weight := 0.5)", [a, b])
    query = (
        "SELECT kind, weight FROM association_links WHERE source_id = ? AND target_id = ? AND kind = 'user'"
    )
    assert con.execute(query, [a, b]).fetchall() == [("user", 0.5)]
    assert con.execute("SELECT forget(?), forget('no such id'), forget(NULL)", [a]).fetchall() == [
        (True, False, None)
    ]
    assert con.execute("SELECT text FROM memories").fetchall() == [("two",)]
    assert con.execute(query, [a, b]).fetchall() == []


def test_a_cursor_for_each_of_many_threads(con: aios_db.Connection) -> None:
    con.remember(memories(*(f"memory {number}" for number in range(200))))
    results: list[tuple[int, int]] = []
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                row = con.execute(
                    "SELECT ?, count(*) FROM memories WHERE text LIKE 'memory %'", [number]
                ).fetchone()
                assert row is not None
                results.append(row)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(results) == sorted((number, 200) for number in range(8) for _ in range(5))


def test_closing_ends_what_other_threads_run(con: aios_db.Connection) -> None:
    con.remember(memories("one"))
    started, errors = threading.Event(), []

    def work() -> None:
        cursor = con.cursor()
        started.set()
        try:
            while True:
                cursor.execute("SELECT sum(hash(i)) FROM range(100000000) t(i)").fetchall()
        except aios_db.Error as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    time.sleep(0.2)
    con.close()
    thread.join(timeout=60)
    assert len(errors) == 1


def test_times_without_a_zone_are_utc_wherever_the_machine_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with aios_db.connect(tmp_path / "a.aios") as con:
            con.remember(memories("late"), occurred_at="2024-05-01T00:30")
            late = "SELECT text FROM memories WHERE occurred_at = '2024-05-01T00:30'"
            assert con.execute(late).fetchall() == [("late",)]
            assert con.cursor().execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_user_strings_stay_data(con: aios_db.Connection) -> None:
    nasty = "'; DROP TABLE memories; -- \u0000 \" 🦆 \\"
    (memory_id,) = con.remember(memories(nasty, session_id=["it's; a \" session"]))
    row = con.execute("SELECT text, session_id FROM memories WHERE memory_id = ?", [memory_id]).fetchone()
    assert row == (nasty, "it's; a \" session")


def test_reading_only(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "a.aios") as con:
        con.remember(memories("one"))
    with aios_db.connect(tmp_path / "a.aios", read_only=True) as con:
        assert con.execute("SELECT text FROM memories").fetchall() == [("one",)]
        with pytest.raises(aios_db.ReadOnlyError):
            con.remember(memories("two"))
        with pytest.raises(aios_db.ReadOnlyError):
            con.execute("SELECT forget('x')")


def test_duckdb_is_a_supported_version() -> None:
    assert (1, 5) <= tuple(int(part) for part in duckdb.__version__.split(".")[:2]) < (3, 0)


def test_a_configuration_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recall: {k: 3}", encoding="utf-8")
    for config in (file, str(file)):
        with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
            assert connection.store.config.recall.k == 3


@pytest.mark.parametrize(
    "sql",
    ["SELECT unit_vector([0.0, 0.0])", "FROM update_all([{memory_id: 'x', tier: 'long'}])", "SELEC"],
)
def test_an_error_that_was_handled_keeps_nothing_alive(con: aios_db.Connection, sql: str) -> None:
    class Large:
        """What the caller has at hand."""

    def ask() -> weakref.ref[Large]:
        large = Large()
        with pytest.raises(aios_db.Error) as raised:
            con.execute(sql).fetchall()
        assert "aios error" not in str(raised.value)
        return weakref.ref(large)

    left = ask()
    gc.collect()
    assert left() is None


@pytest.mark.parametrize("sql", ["", " ; ", "-- nothing", "/* nothing */;"])
def test_no_statement_is_a_relation_without_rows(con: aios_db.Connection, sql: str) -> None:
    assert con.sql(sql).fetchall() == []
