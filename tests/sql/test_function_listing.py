"""`memory_functions()` lists what SQL has here."""

from __future__ import annotations

import duckdb
import pytest

import aios_db
from aios_db.schema.config import Config, RecallConfig
from aios_db.udfs.registry import sql_objects

pytestmark = pytest.mark.sql


def test_every_function_is_listed_with_what_it_does(con: aios_db.Connection) -> None:
    rows = con.execute("FROM memory_functions()").fetchall()
    assert [row[0] for row in rows] == sorted(each.name for each in sql_objects() if each.kind == "MACRO")
    assert all(len(description) > 20 and description.endswith(".") for *_, description in rows)
    kinds = con.execute(
        "SELECT DISTINCT function_name, function_type FROM duckdb_functions() WHERE function_name IN "
        "(SELECT name FROM memory_functions())"
    ).fetchall()
    found = {"table_macro": "table", "macro": "scalar"}
    assert {(name, found[kind]) for name, kind in kinds} == {(row[0], row[1]) for row in rows}


def test_what_writes_is_marked_and_defaults_are_those_of_the_configuration(tmp_path) -> None:
    config = Config(recall=RecallConfig(k=7))
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        writing = con.execute("SELECT name FROM memory_functions() WHERE writes").fetchall()
        assert [row[0] for row in writing] == [
            "consolidate", "erase", "erase_all", "evict", "fold", "forget", "forget_all", "link", "link_all",
            "remember", "remember_all", "restore", "supersede", "undo", "undo_consolidation",
            "update_all",
        ]  # fmt: skip
        said = con.execute("SELECT arguments, description FROM memory_functions() WHERE name = 'recall'")
        arguments, description = said.fetchall()[0]
        assert arguments.startswith("query := NULL, k := 7, hops := 1, …, filter := NULL")
        assert description == "The k memories that answer a query best."


def test_an_attached_schema_lists_its_functions(tmp_path) -> None:
    con = duckdb.connect()
    aios_db.attach(con, tmp_path / "a.aios", schema="notes")
    try:
        assert con.execute("SELECT count(*) FROM notes.memory_functions()").fetchone() == (
            sum(each.kind == "MACRO" for each in sql_objects()),
        )
        text = con.execute("SELECT string_agg(description, ' ') FROM notes.memory_functions()").fetchone()[0]
        assert "notes." not in text
    finally:
        aios_db.detach(con)
