"""The views and macros of a cursor, made when a statement first names them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import aios_db
from aios_db.udfs.on_demand import Item, OnDemand


def made(cursor: aios_db.Cursor) -> set[str]:
    """Return the names of what DuckDB has of ours on a cursor, which is asked behind its back."""
    database = cursor._duckdb
    assert database is not None
    rows = database.execute(
        """
        SELECT function_name FROM duckdb_functions() WHERE function_type LIKE '%macro' AND NOT internal
        UNION SELECT view_name FROM duckdb_views() WHERE NOT internal
        """
    ).fetchall()
    return {name for (name,) in rows}


def test_a_new_cursor_has_nothing_and_then_what_its_statements_name(con: aios_db.Connection) -> None:
    cursor = con.cursor()
    assert made(cursor) == set()
    cursor.execute("SELECT count(*) FROM Memories")
    assert made(cursor) == {"memories", "lance_memories"}
    cursor.execute("SELECT count(*) FROM association_links")
    assert made(cursor) == {"memories", "lance_memories", "association_links", "lance_association_links"}


@pytest.mark.parametrize(
    "statement",
    [
        "SHOW TABLES",
        "SELECT name FROM (SHOW ALL TABLES)",
        "SELECT DISTINCT view_name FROM duckdb_views() WHERE temporary AND NOT internal",
        "SELECT table_name FROM information_schema.tables",
        "SELECT name FROM sqlite_master",
        "SELECT viewname FROM pg_catalog.pg_views",
    ],
)
def test_a_statement_that_lists_finds_all(con: aios_db.Connection, statement: str) -> None:
    found = {row[0] for row in con.cursor().execute(statement).fetchall()}
    assert {"memories", "tiers", "quarantined"} <= found


def test_names_out_of_sight_are_found(con: aios_db.Connection) -> None:
    con.remember("The gate opens at six.")
    cursor = con.cursor()
    rows = cursor.execute("SELECT text FROM query('FROM mem' || 'ories')").fetchall()
    assert rows == [("The gate opens at six.",)]


def test_a_misspelt_name_is_answered_with_the_right_one(con: aios_db.Connection) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="recall"):
        con.cursor().execute("SELECT * FROM recal('gate')")
    with pytest.raises(aios_db.ProgrammingError, match="memories"):
        con.cursor().execute("SELECT * FROM memorys")


def test_a_macro_of_the_user_finds_ours_on_another_cursor(con: aios_db.Connection) -> None:
    memory_id = con.remember("The gate opens at six.")
    con.cursor().execute(
        "CREATE MACRO main.found(what) AS TABLE SELECT memory_id FROM keyword_search(what, 3)"
    )
    con.cursor().execute("CREATE VIEW main.said AS SELECT 1 AS one")
    assert con.cursor().execute("FROM found('gate')").fetchall() == [(memory_id,)]


def test_ours_goes_before_one_of_the_users_in_another_database(con: aios_db.Connection) -> None:
    con.cursor().execute("ATTACH ':memory:' AS mine; CREATE TABLE mine.main.tiers AS SELECT 'mine' AS tier")
    con.cursor().execute("CREATE MACRO mine.main.heard() AS TABLE SELECT tier FROM tiers")
    cursor = con.cursor()
    cursor.execute("USE mine")
    assert cursor.execute("FROM heard()").fetchall() == cursor.execute("SELECT tier FROM tiers").fetchall()


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE t (a INTEGER)", "SET threads = 2", "CREATE MACRO plus(n) AS n + 1", "DROP TABLE u"],
)
def test_what_a_statement_defines_needs_none_that_it_does_not_name(
    con: aios_db.Connection, statement: str
) -> None:
    con.cursor().execute("CREATE TABLE u (a INTEGER)")
    con.cursor().execute(statement)
    cursor = con.cursor()
    cursor.execute("SELECT 1")
    assert made(cursor) == ({"plus"} if "MACRO" in statement else set())


@pytest.mark.parametrize("holds", ["a macro", "a view", "a variable"])
def test_ours_goes_before_one_of_the_users_in_another_schema(con: aios_db.Connection, holds: str) -> None:
    ask = {
        "a macro": "FROM heard()",
        "a view": "FROM heard",
        "a variable": "FROM query(getvariable('heard'))",
    }[holds]
    first = con.cursor()
    first.execute("CREATE SCHEMA mine; CREATE TABLE mine.tiers AS SELECT 'mine' AS tier")
    first.execute(
        {
            "a macro": "CREATE MACRO mine.heard() AS TABLE SELECT tier FROM tiers",
            "a view": "CREATE TEMP VIEW heard AS SELECT tier FROM tiers",
            "a variable": "SET VARIABLE heard = 'SELECT tier FROM tiers'",
        }[holds]
    )
    for cursor in (first, con.cursor()):
        if holds != "a macro" and cursor is not first:
            continue  # it is the first cursor's alone
        cursor.execute("USE mine")
        assert "tiers" in made(cursor)
        assert cursor.execute(ask).fetchall() == cursor.execute("SELECT tier FROM temp.main.tiers").fetchall()


def test_a_database_that_was_filled_elsewhere_finds_ours(con: aios_db.Connection, tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "own.duckdb") as other:
        other.execute("CREATE TABLE tiers AS SELECT 'mine' AS tier")
        other.execute("CREATE MACRO heard() AS TABLE SELECT tier FROM tiers")
    con.cursor().execute(f"ATTACH '{tmp_path / 'own.duckdb'}' AS own")
    cursor = con.cursor()
    cursor.execute("USE own")
    assert cursor.execute("FROM heard()").fetchall() == cursor.execute("SELECT tier FROM tiers").fetchall()


def test_a_rollback_takes_nothing_of_ours_away(con: aios_db.Connection) -> None:
    cursor = con.cursor()
    cursor.execute("BEGIN")
    cursor.execute("SELECT count(*) FROM memories").fetchall()
    cursor.execute("ROLLBACK")
    assert cursor.execute("SELECT count(*) FROM memories").fetchone() == (0,)
    other = con.cursor().begin()
    other.execute("SELECT count(*) FROM recall('gate')").fetchall()
    other.rollback()
    assert other.execute("SELECT count(*) FROM recall('gate')").fetchone() == (0,)


def test_a_change_on_a_new_cursor_is_carried_out(con: aios_db.Connection) -> None:
    con.cursor().execute("INSERT INTO memories (text) VALUES ('The gate opens at six.')")
    con.cursor().execute("UPDATE memories SET importance = .75")
    assert con.cursor().execute("SELECT text, importance FROM memories").fetchall() == [
        ("The gate opens at six.", 0.75)
    ]


def test_a_relation_can_be_asked_with_any_name(con: aios_db.Connection) -> None:
    relation = con.cursor().sql("SELECT 'gate' AS word")
    assert relation.filter("word NOT IN (SELECT text FROM memories)").fetchall() == [("gate",)]


def test_each_is_made_once_behind_what_it_names() -> None:
    order: list[str] = []
    texts = {"base": "", "view": "FROM base", "macro": "FROM VIEW", "other": "FROM base"}
    items = OnDemand([Item(name, text, lambda name=name: order.append(name)) for name, text in texts.items()])
    items.for_text("SELECT MACRO('other')")
    assert order == ["base", "view", "macro", "other"]
    assert not items.all()
    items.add(Item("late", "FROM view", lambda: order.append("late")))
    items.for_text("SELECT 1")
    assert order[-1] == "other"
    assert items.all()
    assert order[-1] == "late"


def test_what_could_not_be_made_is_made_later() -> None:
    tries = iter([duckdb.InterruptException("stopped"), None])
    made: list[str] = []

    def make() -> None:
        if error := next(tries):
            raise error
        made.append("view")

    items = OnDemand([Item("view", "", make)])
    with pytest.raises(duckdb.InterruptException):
        items.for_text("FROM view")
    items.for_text("FROM view")
    assert made == ["view"]


@pytest.mark.timeout(60)
def test_rows_are_registered_and_views_made_while_a_result_is_unread(con: aios_db.Connection) -> None:
    con.remember([{"text": f"Lamp {number}.", "text_embedding": [1.0] + [0.0] * 383} for number in range(64)])
    for _ in range(10):
        cursor = con.cursor()
        cursor.execute("SELECT * FROM memories").fetchone()
        cursor.register("mine", pa.table({"a": [7]}))
        assert cursor.execute("SELECT a FROM mine").fetchone() == (7,)
        cursor.execute("SELECT * FROM memories").fetchone()
        assert cursor.execute("SELECT count(*) FROM lora_cards").fetchone() == (0,)
        cursor.execute("SELECT * FROM memories, range(100)").fetchone()
        cursor.begin().rollback()
