"""The result of a cursor's last statement: rows that DuckDB hands out, their columns and number."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import duckdb

from aios_db.schema.errors import ProgrammingError
from aios_db.sql.writes import WRITTEN

if TYPE_CHECKING:
    import pyarrow as pa

NO_ROWS = "SELECT true AS Success LIMIT 0"  # what DuckDB 2 returns for COMMIT
_COUNT = 'SELECT {}::BIGINT AS "Count"'  # what DuckDB returns for INSERT, UPDATE and DELETE


class Result:
    """What a connection of DuckDB's has to fetch.

    Attributes
    ----------
    description
        One 7-tuple per column (name, type, and five None), or None when the statement returns no rows.
    rowcount
        Rows that an INSERT, UPDATE or DELETE changed; -1 when that is unknown.
    is_there
        Whether there is a result, be it one of no rows.
    in_memory
        Whether its rows were read already.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        self._database = database
        self._at_first_fetch = ""  # the query that makes it, where that costs too much if nobody reads it
        self.in_memory = self.is_there = False
        self.description: list[tuple[Any, ...]] | None = None
        self.rowcount = -1

    def forget(self) -> None:
        """Let go of it, before the next statement."""
        if self.is_there:
            self._stop()
        if self.in_memory:
            self._database.unregister(WRITTEN)
        self.is_there = self.in_memory = False
        self._at_first_fetch, self.description, self.rowcount = "", None, -1

    def _stop(self) -> None:
        """End what is computed of it, which would keep the connection busy."""
        if hasattr(self._database, "abort"):
            self._database.abort()
            return
        with suppress(duckdb.Error):  # in a transaction that failed, say
            # DuckDB 1.5 ends it with the next statement. If that is `register`, it waits for threads that
            # read a table in Python, without letting them.
            self._database.execute(NO_ROWS)

    def set_query(self) -> None:
        """Take what DuckDB has just executed."""
        self.description = [tuple(column) for column in self._database.description or []]
        self.is_there = True

    def set_count(self, rows: int) -> None:
        """Make how many rows a statement changed the result, as DuckDB does."""
        self.rowcount = rows
        self.description = [("Count", duckdb.sqltypes.BIGINT, None, None, None, None, None)]
        self.is_there, self._at_first_fetch = True, _COUNT.format(rows)

    def set_empty(self) -> None:
        """Let a fetch find no rows, as in DuckDB, behind a statement that returns none."""
        self.is_there, self._at_first_fetch = True, NO_ROWS

    def read_back(self, rows: pa.Table, reading: str) -> None:
        """Let a query over rows in memory, `writes.WRITTEN`, be what DuckDB has just executed."""
        self._database.register(WRITTEN, rows)
        self.in_memory = True
        self._database.execute(reading)

    def rows(self) -> Any:
        """Return what fetches the rows that are left.

        Raises
        ------
        ProgrammingError
            There is no result.
        """
        if not self.is_there:
            raise ProgrammingError("there is no result to fetch from; execute a query first")
        if self._at_first_fetch:
            self._database.execute(self._at_first_fetch)
            self._at_first_fetch = ""
        return self._database

    def drain(self) -> None:
        """Fetch the rows that are left, so that a statement that streams has done all that it does."""
        if self.is_there and not self._at_first_fetch:
            self._database.fetchall()
