"""The database's own views and macros stay what they are on its connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import aios_db
from aios_db.config import Config

pytestmark = pytest.mark.sql

REFUSED = [
    "DROP VIEW memories",
    'DROP VIEW IF EXISTS "Memories"',
    "DROP VIEW temp.main.association_links CASCADE",
    "DROP VIEW lance_memories",
    "DROP TABLE IF EXISTS weight_versions",
    "CREATE OR REPLACE TEMP VIEW memories AS SELECT 1 AS one",
    "CREATE VIEW main.memories AS SELECT 1 AS one",
    "create /* mine */ temporary table if not exists memories (text VARCHAR)",
    "CREATE OR REPLACE TABLE memories AS SELECT 'mine' AS text",
    "ALTER VIEW memories RENAME TO old",
    "DROP MACRO remember",
    "DROP MACRO TABLE recall",
    "DROP FUNCTION IF EXISTS forget",
    "CREATE OR REPLACE TEMP MACRO forget(x) AS 1",
    "CREATE FUNCTION recall(q) AS TABLE SELECT q",
    "CREATE TEMP MACRO aios_writes(x) AS 'written'",
    "EXPLAIN ANALYZE DROP VIEW memories",
    "EXPLAIN (ANALYZE, FORMAT json) CREATE OR REPLACE TEMP MACRO recall(q) AS TABLE SELECT q",
    "CREATE MACRO exp(x) AS 100",
    'CREATE OR REPLACE TEMP FUNCTION "+"(x, y) AS 77',
    "CREATE MACRO memory.main.Greatest(x, y) AS x",
    "EXPLAIN ANALYZE CREATE MACRO sum(x) AS 1",
    "CREATE MACRO memory.main.aios_clusters(x) AS 1",
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[aios_db.Connection]:
    """A database that no statement of these changes, as each test looks."""
    with aios_db.connect(tmp_path_factory.mktemp("kept") / "agent.aios", config=Config()) as con:
        con.remember("the key", session_id="s")
        yield con


@pytest.mark.parametrize("sql", REFUSED)
@pytest.mark.parametrize("how", ["execute", "sql", "in a transaction"])
def test_a_statement_that_would_change_them_is_refused(kept: aios_db.Connection, sql: str, how: str) -> None:
    if how == "in a transaction":
        kept.begin()
    with pytest.raises(aios_db.NotSupportedError, match="of the database"):
        kept.sql(sql) if how == "sql" else kept.execute(f"SELECT 1; {sql}")
    if how == "in a transaction":
        kept.commit()
    assert kept.execute("SELECT text FROM memories").fetchall() == [("the key",)]
    assert kept.execute("SELECT text FROM recall('the key')").fetchall() == [("the key",)]


def test_other_names_and_places_are_the_users_own(con: aios_db.Connection) -> None:
    con.execute(
        "CREATE SCHEMA mine; CREATE TABLE mine.memories (n INTEGER); INSERT INTO mine.memories VALUES (7)"
    )
    assert con.execute("FROM mine.memories").fetchall() == [(7,)]
    con.execute(
        "CREATE TABLE link (n INTEGER); CREATE SCHEMA memories; CREATE VIEW my_memories AS FROM memories"
    )
    assert con.execute("FROM my_memories").fetchall() == []
    con.execute(
        "DROP VIEW my_memories; DROP TABLE link; DROP TABLE mine.memories; CREATE MACRO memories() AS 3"
    )
    assert con.execute("SELECT memories()").fetchall() == [(3,)]


@pytest.mark.parametrize("name", ["memories", "Lance_Memories"])
def test_register_and_unregister_leave_them(con: aios_db.Connection, name: str) -> None:
    table = con.execute("SELECT 1 AS n").arrow()
    with pytest.raises(aios_db.ProgrammingError, match="register"):
        con.register(name, table)
    with pytest.raises(aios_db.ProgrammingError, match="unregister"):
        con.unregister(name)
    assert con.execute("SELECT count(*) FROM memories").fetchall() == [(0,)]


@pytest.mark.parametrize("schema", ["mine", "memory.mine"])
@pytest.mark.parametrize("name", ["exp", "aios_embed"])
def test_what_recall_calls_is_not_replaced_in_a_schema_of_the_users_own(
    con: aios_db.Connection, schema: str, name: str
) -> None:
    con.remember(["the key", "the pot"])
    before = con.recall("the key")[0].score
    con.execute("CREATE SCHEMA mine; USE mine")
    with pytest.raises(aios_db.NotSupportedError, match="recall and other macros of the database call"):
        con.execute(f"CREATE MACRO {schema}.{name}(x) AS NULL")
    assert con.recall("the key")[0].score == pytest.approx(before, abs=1e-3)


def test_a_pivot_runs(con: aios_db.Connection) -> None:
    pivot = "PIVOT (SELECT * FROM (VALUES ('a', 1), ('b', 2)) v(name, n)) ON name USING sum(n)::INTEGER"
    assert con.execute(pivot).fetchall() == [(1, 2)]
