"""aios_db as an extension of a DuckDB connection that the user already has."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import aios_db
from aios_db.schema.errors import ProgrammingError

pytestmark = pytest.mark.sql


@pytest.fixture
def database(tmp_path: Path) -> Path:
    rows = np.eye(384, dtype=np.float32)[:2]
    path = tmp_path / "agent.aios"
    with aios_db.connect(path) as con:
        con.remember(
            pa.table(
                {
                    "text": ["the key is under the pot", "rain tomorrow"],
                    "text_embedding": pa.FixedSizeListArray.from_arrays(rows.ravel(), 384),
                    "speaker": ["Ada", "Bob"],
                }
            )
        )
    return path


def test_views_join_with_the_users_tables(database: Path) -> None:
    with duckdb.connect() as mine:
        mine.execute("CREATE TABLE people AS SELECT 'Ada' AS name, 36 AS age")
        aios_db.attach(mine, database)
        rows = mine.execute("SELECT text, age FROM memories JOIN people ON speaker = name").fetchall()
        assert rows == [("the key is under the pot", 36)]
        aios_db.detach(mine)


def test_attached_views_follow_later_writes(database: Path) -> None:
    with duckdb.connect() as mine:
        aios_db.attach(mine, database)
        (first,) = mine.execute("SELECT memory_id FROM memories WHERE speaker = 'Ada'").fetchall()[0]
        with aios_db.connect(database) as other:
            assert other.forget(first) == 1
        assert mine.execute("SELECT text FROM memories").fetchall() == [("rain tomorrow",)]
        aios_db.detach(mine)


def test_detach_takes_everything_out(database: Path) -> None:
    with duckdb.connect() as mine:
        before = mine.execute("SELECT count(*) FROM duckdb_functions()").fetchone()
        aios_db.attach(mine, database)
        aios_db.detach(mine)
        assert mine.execute("SELECT count(*) FROM duckdb_functions()").fetchone() == before
        with pytest.raises(duckdb.CatalogException):
            mine.execute("FROM memories")
        with pytest.raises(aios_db.ProgrammingError, match="no aios_db database"):
            aios_db.detach(mine)
        aios_db.attach(mine, database)  # and it can come back
        assert mine.execute("SELECT count(*) FROM memories").fetchone() == (2,)
        aios_db.detach(mine)


def test_nothing_is_written_into_the_users_file(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.duckdb"
    with duckdb.connect(file) as mine:
        aios_db.attach(mine, database)
        assert mine.execute("SELECT count(*) FROM memories").fetchone() == (2,)
        # closed without detach, as a program that ends does
    with duckdb.connect(file) as mine:
        assert mine.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone() == (0,)
        assert mine.execute("SELECT count(*) FROM duckdb_functions() WHERE NOT internal").fetchone() == (0,)


def test_a_schema_keeps_the_users_own_memories_table_apart(database: Path) -> None:
    with duckdb.connect() as mine:
        mine.execute("CREATE TABLE memories (mine INTEGER)")
        with pytest.raises(aios_db.ProgrammingError, match="schema='aios'"):
            aios_db.attach(mine, database)
        aios_db.attach(mine, database, schema="aios")
        assert mine.execute("SELECT count(*) FROM aios.memories").fetchone() == (2,)
        assert mine.execute("SELECT count(*) FROM memories").fetchone() == (0,)
        aios_db.detach(mine)
        with pytest.raises(duckdb.Error):
            mine.execute("SELECT count(*) FROM aios.memories")


def test_a_table_may_have_the_name_of_a_macro(database: Path) -> None:
    with duckdb.connect() as mine:
        mine.execute("CREATE TABLE link AS SELECT 7 AS seven")
        aios_db.attach(mine, database)
        assert mine.execute(
            "SELECT seven, text FROM link, keyword_search('key', 1) JOIN memories USING (memory_id)"
        ).fetchall() == [(7, "the key is under the pot")]
        aios_db.detach(mine)
        assert mine.execute("SELECT seven FROM link").fetchone() == (7,)


@pytest.mark.parametrize("kind", ["TEMP MACRO", "MACRO"])
def test_a_macro_of_the_users_is_not_replaced(database: Path, kind: str) -> None:
    with duckdb.connect() as mine:
        mine.execute(f"CREATE {kind} link(a, b) AS a || '-' || b")
        with pytest.raises(aios_db.ProgrammingError, match="a macro 'link'"):
            aios_db.attach(mine, database)
        aios_db.attach(mine, database, schema="aios")
        assert mine.execute("SELECT count(*) FROM aios.keyword_search('key', 3)").fetchone() == (1,)
        aios_db.detach(mine)
        assert mine.execute("SELECT link('a', 'b')").fetchone() == ("a-b",)


def test_cursors_of_one_instance_share_the_store(database: Path, tmp_path: Path) -> None:
    with duckdb.connect() as mine:
        aios_db.attach(mine, database)
        with pytest.raises(aios_db.ProgrammingError, match="attached already"):
            aios_db.attach(mine, database)
        second = mine.cursor()
        with pytest.raises(aios_db.ProgrammingError, match="already holds"):
            aios_db.attach(second, tmp_path / "other.aios")
        with pytest.raises(aios_db.ProgrammingError, match="for writing, and cannot hold it for reading"):
            aios_db.attach(second, database, read_only=True)
        aios_db.attach(second, database)
        assert second.execute("SELECT count(*) FROM memories").fetchone() == (2,)
        with pytest.raises(aios_db.ProgrammingError, match="1 more"):
            aios_db.detach(mine)
        aios_db.detach(second)
        assert mine.execute("SELECT count(*) FROM memories").fetchone() == (2,)
        aios_db.detach(mine)


def test_a_cursor_shares_a_schema(database: Path) -> None:
    with duckdb.connect() as mine:
        aios_db.attach(mine, database, schema="aios")
        second = mine.cursor()
        aios_db.attach(second, database, schema="aios")
        assert second.execute("SELECT count(*) FROM aios.memories").fetchone() == (2,)
        aios_db.detach(second)
        assert mine.execute("SELECT count(*) FROM aios.memories").fetchone() == (2,)
        aios_db.detach(mine)
        with pytest.raises(duckdb.Error):
            mine.execute("SELECT count(*) FROM aios.memories")


def test_a_cursor_that_was_closed_does_not_hold_the_database(database: Path, tmp_path: Path) -> None:
    with duckdb.connect() as mine:
        aios_db.attach(mine, database)
        closed, forgotten = mine.cursor(), mine.cursor()
        for cursor in (closed, forgotten):
            aios_db.attach(cursor, database)
        closed.close()
        del forgotten, cursor
        aios_db.detach(mine)
        aios_db.attach(mine, tmp_path / "other.aios")
        assert mine.execute("SELECT count(*) FROM memories").fetchone() == (0,)
        aios_db.detach(mine)


def test_an_attach_that_fails_leaves_nothing(database: Path) -> None:
    with duckdb.connect() as mine:
        for schema in ("pg_catalog", "temp", ""):
            with pytest.raises(aios_db.ProgrammingError):
                aios_db.attach(mine, database, schema=schema)
        aios_db.attach(mine, database)
        assert mine.execute("SELECT count(*) FROM memories").fetchone() == (2,)
        aios_db.detach(mine)


def test_a_schema_is_seen_by_every_session_of_the_instance(database: Path) -> None:
    with duckdb.connect() as mine:
        before, later = mine.cursor(), []
        aios_db.attach(mine, database, schema="aios")
        later.append(mine.cursor())

        def ask(session: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
            return session.execute(
                "SELECT m.text, s.score > 0 "
                "FROM aios.keyword_search('key', 3) s JOIN aios.memories m USING (memory_id)"
            ).fetchall()

        for session in (mine, before, *later):
            assert ask(session) == [("the key is under the pot", True)]
            assert session.execute(
                "SELECT count(*) FROM aios.association_links WHERE kind = 'no'"
            ).fetchone() == (0,)
        with aios_db.connect(database) as other:
            other.forget(
                [row[0] for row in other.execute("SELECT memory_id FROM memories LIMIT 1").fetchall()]
            )
        in_a_thread: list[object] = []
        thread = threading.Thread(
            target=lambda: in_a_thread.append(
                mine.cursor().execute("SELECT count(*) FROM aios.memories").fetchone()
            )
        )
        thread.start()
        thread.join()
        assert in_a_thread == [(1,)]
        aios_db.detach(mine)
        for session in (before, *later):
            with pytest.raises(duckdb.Error):
                session.execute("SELECT count(*) FROM aios.memories")


def test_two_databases_under_two_schemas(database: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.aios"
    with aios_db.connect(second) as con:
        vector = np.eye(384, dtype=np.float32)[0]
        con.remember([{"text": "another key", "text_embedding": vector}])
    with duckdb.connect() as mine:
        before = mine.execute("SELECT count(*) FROM duckdb_functions()").fetchone()
        aios_db.attach(mine, database, schema="one")
        with pytest.raises(aios_db.ProgrammingError, match="already holds"):
            aios_db.attach(mine, second, schema="one")
        aios_db.attach(mine, second, schema="two", read_only=True)
        both = (
            "SELECT 1 AS n, text FROM {0}one.memories UNION SELECT 2, text FROM {0}two.memories ORDER BY ALL"
        )
        rows = [(1, "rain tomorrow"), (1, "the key is under the pot"), (2, "another key")]
        for session in (mine, mine.cursor()):
            assert session.execute(both.format("")).fetchall() == rows
            for schema, found in (("one", 1), ("two", 1)):
                sql = f"FROM {schema}.keyword_search('key', 5) JOIN {schema}.memories m USING (memory_id)"
                assert len(session.execute(sql).fetchall()) == found
        assert mine.execute("FROM one.forget_all((SELECT list(memory_id) FROM one.memories))").fetchone() == (
            2,
        )
        with pytest.raises(duckdb.Error, match="read_only"):
            mine.execute("FROM two.forget_all((SELECT list(memory_id) FROM two.memories))").fetchall()
        assert mine.execute(both.format("")).fetchall() == rows[2:]
        aios_db.detach(mine, "one")
        with pytest.raises(duckdb.Error):
            mine.execute("FROM one.memories")
        with pytest.raises(
            aios_db.ProgrammingError, match="no aios_db database is attached to this connection as"
        ):
            aios_db.detach(mine, "one")
        assert mine.execute("SELECT text FROM two.memories").fetchall() == [("another key",)]
        aios_db.attach(mine, database, schema="three")
        aios_db.detach(mine)
        assert mine.execute("SELECT count(*) FROM duckdb_functions()").fetchone() == before
        assert mine.execute("SELECT count(*) FROM duckdb_databases() WHERE NOT internal").fetchone() == (1,)


@pytest.mark.parametrize("schema", ["main", "aios"])
def test_writing_on_an_attached_connection(database: Path, schema: str) -> None:
    prefix = "" if schema == "main" else f"{schema}."
    with duckdb.connect() as mine:
        aios_db.attach(mine, database, schema=schema)
        (ada,) = (
            mine.execute(f"SELECT memory_id FROM {prefix}memories WHERE speaker = 'Ada'").fetchone() or ()
        )
        for call in (
            f"SELECT {prefix}forget('{ada}')",
            f"SELECT {prefix}remember('x')",
            f"SELECT {prefix}link('a', 'b')",
        ):
            with pytest.raises(duckdb.Error, match=r"here write FROM (forget|remember|link)_all"):
                mine.execute(call)
        (other,) = (
            mine.execute(f"SELECT memory_id FROM {prefix}memories WHERE speaker = 'Bob'").fetchone() or ()
        )
        linked = f"FROM {prefix}link_all([{{source_id: ?, target_id: ?, weight: 0.5}}])"
        assert mine.execute(linked, [ada, other]).fetchall() == [(1,)]
        updated = f"FROM {prefix}update_all([{{memory_id: ?, tier: 'long'}}])"
        assert mine.execute(updated, [other]).fetchall() == [(1,)]
        tier = f"SELECT tier FROM {prefix}memories WHERE memory_id = ?"
        assert mine.execute(tier, [other]).fetchone() == ("long",)
        assert mine.execute(f"FROM {prefix}forget_all([?, ?, 'nobody'])", [ada, ada]).fetchall() == [(1,)]
        assert mine.execute(f"SELECT text FROM {prefix}memories").fetchall() == [("rain tomorrow",)]
        with pytest.raises(duckdb.Error):
            mine.execute(f"SELECT * FROM {prefix}memories m, {prefix}forget_all([m.memory_id])").fetchall()
        assert mine.execute(f"SELECT count(*) FROM {prefix}memories").fetchone() == (1,)
        aios_db.detach(mine)


def test_neither_attach_nor_detach_is_undone_by_half(database: Path) -> None:
    with duckdb.connect() as mine:
        mine.begin()
        with pytest.raises(aios_db.ProgrammingError, match="transaction"):
            aios_db.attach(mine, database)
        mine.rollback()
        aios_db.attach(mine, database)
        mine.begin()
        with pytest.raises(aios_db.ProgrammingError, match="transaction"):
            aios_db.detach(mine)
        assert mine.execute("SELECT count(*) FROM memories").fetchone() == (2,)
        mine.rollback()
        aios_db.detach(mine)


_FUNCTIONS_OUTLIVE_THEIR_PLACE = """
import sys
import aios_db, duckdb
database = sys.argv[1]

mine = duckdb.connect()
home = mine.cursor()
aios_db.attach(home, database)
aios_db.attach(mine, database)
home.close()
del home
for _ in range(3):
    assert mine.execute("SELECT count(*) FROM keyword_search('key', 5)").fetchone() == (1,)
aios_db.detach(mine)
aios_db.attach(mine, database)
assert mine.execute("SELECT count(*) FROM keyword_search('key', 5)").fetchone() == (1,)
aios_db.detach(mine)

mine = duckdb.connect()
aios_db.attach(mine, database)
mine.execute("PREPARE prepared AS SELECT aios_memories(?)")
mine.execute("EXECUTE prepared(['no such memory'])").fetchall()
aios_db.detach(mine)
try:
    mine.execute("EXECUTE prepared(['no such memory'])").fetchall()
except duckdb.Error as error:
    assert "detached" in str(error), error
    print("all done")
"""


def test_functions_outlive_the_connection_that_registered_them(database: Path) -> None:
    """In a process of its own: DuckDB calls what it was given, be it there or not."""
    command = [sys.executable, "-c", _FUNCTIONS_OUTLIVE_THEIR_PLACE, str(database)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "all done\n"), run.stderr


def test_an_attached_database_of_one_source_writes_nothing_as_another(database: Path) -> None:
    with duckdb.connect() as mine:
        aios_db.attach(mine, database, source="web:page")
        with pytest.raises(ProgrammingError, match="source='web:page'"):
            aios_db.attach(mine.cursor(), database)
        vector = "list_transform(range(384), lambda each: 1.0)"
        row = f"{{text: 'the key is gone', source: 'user', text_embedding: {vector}}}"
        mine.execute(f"FROM remember_all([{row}])").fetchall()
        told = mine.execute("SELECT source FROM memories WHERE text LIKE '%gone'").fetchall()
        assert told == [("web:page",)]
        aios_db.detach(mine)
        with pytest.raises(ProgrammingError, match="attach: source is ''"):
            aios_db.attach(mine, database, source="")
