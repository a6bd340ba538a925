"""The first row of a query of the package's own."""

from __future__ import annotations

from typing import Any

import duckdb


def one_row(
    database: duckdb.DuckDBPyConnection, sql: str, parameters: object = None
) -> tuple[Any, ...] | None:
    """Return the first row of a query, or None, and leave nothing unread.

    DuckDB 2 lets nothing else run on a connection while rows of `execute` are left, the end of them included.
    """
    rows = database.execute(sql, parameters).fetchall()
    return rows[0] if rows else None
