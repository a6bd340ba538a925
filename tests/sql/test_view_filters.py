"""A condition on any column selects what it selects of the same rows in a table of DuckDB's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aios_db
from aios_db.config import Config
from aios_db.schema.memories import memories_schema

pytestmark = pytest.mark.sql

COLUMNS = memories_schema(384).names
FIRST = "(SELECT {c} FROM copy WHERE {c} IS NOT NULL ORDER BY memory_id LIMIT 1)"
OF_ALL = ["{c} IS NULL", "{c} IS NOT NULL", "{c} = ?", "{c} <> ?", "{c} IN (?)", "{c} IN (?, ?)",
          "{c} NOT IN (?)", "{c} IS DISTINCT FROM ?", "NOT ({c} = ?)", "{c} = ? OR {c} IS NULL", "{c} < ?",
          "{c} >= ?", "{c} BETWEEN ? AND ?", "{c} = " + FIRST, "{c} > " + FIRST,
          "{c} IS NOT NULL AND text > 'a'", "({c} IS NULL) = (text = 'a')"]  # fmt: skip
OF_TEXTS = ["{c} LIKE 'a%'", "{c} LIKE '%b%'", "{c} ILIKE 'A%'", "starts_with({c}, 'a')",
            "contains({c}, '%')", "{c} LIKE 'c$%' ESCAPE '$'", "regexp_matches({c}, '^.$')",
            "lower({c}) = 'a'", "length({c}) = 1",
            "{c} > ''", "{c} = ''"]  # fmt: skip
OF_LISTS = ["list_contains({c}, {c}[1])", "len({c}) > 0", "{c}[1] IS NOT NULL", "{c} = []"]
OF_STRUCTS = ["{c}[1].kind = 'x'", "{c}[1]['weight'] > 0.2", "len([l FOR l IN {c} IF l.kind = 'x']) > 0"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[aios_db.Connection]:
    path: Path = tmp_path_factory.mktemp("filters") / "agent.aios"
    eye = np.eye(384)
    with aios_db.connect(path, config=Config()) as con:
        rows: list[dict[str, Any]] = [
            {"text": "a", "media": b"x\0y", "media_type": "image/png", "importance": 0.25, "title": "",
             "derived_from": ["q"], "speaker": "Ada", "metadata": {"p": 1}, "user_id": "it's"},
            {"text": "b b", "occurred_at": "1969-01-01", "session_id": "s", "title": "a%"},
            {"text": "c%", "source": "über", "media_uri": "file:x", "trust": 0.5},
            {"text": "d", "media": b"\0", "agent_id": "a", "tier": "long", "kind": "fact"},
        ]  # fmt: skip
        ids = con.remember([{**row, "text_embedding": eye[place]} for place, row in enumerate(rows)])
        con.link(ids[0], ids[1], kind="x", weight=0.5)
        con.store.maintain()
        con.execute("CREATE TABLE copy AS FROM memories")
        yield con


def outcome(con: aios_db.Connection, sql: str, parameters: list[Any]) -> list[tuple[Any, ...]] | str:
    try:
        return con.execute(sql, parameters).fetchall()
    except aios_db.DatabaseError as error:  # DuckDB 1.5 has no BETWEEN for lists
        return str(error).split(":")[0]


@pytest.mark.parametrize("column", COLUMNS)
def test_conditions(filled: aios_db.Connection, column: str) -> None:
    kinds = {row[0]: row[1] for row in filled.execute("DESCRIBE memories").fetchall()}
    conditions = list(OF_ALL)
    conditions += OF_TEXTS if kinds[column] == "VARCHAR" else []
    conditions += OF_LISTS if kinds[column].endswith("[]") else []
    conditions += OF_STRUCTS if column == "association_links" else []
    row = filled.execute(
        f"SELECT {column} FROM copy WHERE {column} IS NOT NULL ORDER BY memory_id"
    ).fetchone()
    value: Any = None if row is None else row[0]
    for condition in conditions:
        where = condition.replace("{c}", column)
        given = [value] * where.count("?")
        for chosen in ("memory_id", "count(*)", f"{column}, text"):
            sql = f"SELECT {chosen} FROM {{}} WHERE {where} ORDER BY ALL"
            assert outcome(filled, sql.format("memories"), given) == outcome(
                filled, sql.format("copy"), given
            ), where


def test_conditions_on_other_tables(filled: aios_db.Connection) -> None:
    for where in (
        "kind = 'x'",
        "weight BETWEEN 0.4 AND 0.6",
        "evidence_count IN (1, 2)",
        "created_at IS NULL",
        "source_id LIKE '0%'",
    ):
        found = filled.execute(f"SELECT count(*) FROM association_links WHERE {where}").fetchone()
        table = filled.execute("FROM association_links").arrow()
        filled.register("links_copy", table)
        assert found == filled.execute(f"SELECT count(*) FROM links_copy WHERE {where}").fetchone()
    assert filled.execute("SELECT count(*) FROM association_links WHERE kind = 'x'").fetchone() == (1,)
    assert filled.execute("SELECT text FROM memories WHERE media = 'x\\x00y'::BLOB").fetchall() == [("a",)]
