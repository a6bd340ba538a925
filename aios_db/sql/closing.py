"""Closing connections of DuckDB's that other threads may be using."""

from __future__ import annotations

import time

import duckdb

# DuckDB 2 raises it where 1.5 waits for the other thread.
_BUSY: type[Exception] | tuple[()] = getattr(duckdb, "ResourceInUseException", ())
_PATIENCE_S = 0.01


def close_duckdb(database: duckdb.DuckDBPyConnection) -> None:
    """Close a connection of DuckDB's; where another thread runs a statement on it, that is interrupted."""
    while True:
        try:
            database.interrupt()
            database.close()
        except duckdb.ConnectionException:
            return  # it is closed already
        except _BUSY:
            time.sleep(_PATIENCE_S)
        else:
            return
