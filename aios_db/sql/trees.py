"""A SELECT as DuckDB's parser gives it: a tree of dictionaries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from aios_db.sql.one_row import one_row


def tree_of(database: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """Return a SELECT as DuckDB parses it; empty for what it cannot say so."""
    tree: dict[str, Any] = json.loads(scalar(database, "SELECT json_serialize_sql(?::VARCHAR)", query))
    return {} if tree.get("error") else tree


def text_of(database: duckdb.DuckDBPyConnection, tree: dict[str, Any]) -> str:
    """Return the SELECT that a tree stands for."""
    return scalar(database, "SELECT json_deserialize_sql(?::VARCHAR::JSON)", json.dumps(tree))


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every dictionary in a tree, the outer ones first."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for each in tree:
            yield from nodes(each)


def scalar(database: duckdb.DuckDBPyConnection, sql: str, value: str) -> str:
    """Return the one text that a query with one parameter answers."""
    row = one_row(database, sql, [value])
    return str(row[0]) if row else ""
