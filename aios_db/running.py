"""What a call of a cursor runs in: a deadline, Ctrl-C that stops it, and DuckDB's errors told as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING

import duckdb

from aios_db.security import limits
from aios_db.sql.duckdb_errors import translated
from aios_db.sql.interrupts import stops_at_ctrl_c

if TYPE_CHECKING:
    from aios_db.schema.deadlines import Deadline
    from aios_db.session import Session
    from aios_db.sql.result import Result
    from aios_db.sql.transaction import Transaction


class Running:
    """Makes the blocks in which a cursor calls DuckDB."""

    def __init__(
        self,
        session: Session,
        database: duckdb.DuckDBPyConnection,
        transaction: Transaction,
        result: Result,
    ) -> None:
        self._session, self._database = session, database
        self._transaction, self._result = transaction, result
        self._deadline: Deadline | None = None

    def interrupt(self) -> None:
        """Stop what another thread does in a block: what DuckDB computes, and Python at its next step."""
        deadline = self._deadline
        if deadline is not None:
            deadline.interrupt()
        self._database.interrupt()

    def statement(self) -> AbstractContextManager[None]:
        """Return what statements are executed in, which ends them when they take longer than they may."""
        return self._call(self._session.restrictions.timeout_s)

    def fetch(self) -> AbstractContextManager[None]:
        """Return what a result is read in; one that lies in memory takes no time to speak of."""
        return self._call(None) if self._result.in_memory else self.statement()

    @contextmanager
    def _call(self, timeout_s: float | None) -> Iterator[None]:
        session, database = self._session, self._database
        limited = limits.deadline(database, session.deadlines, timeout_s)
        try:
            with limited as deadline, translated(session.errors), stops_at_ctrl_c(database):
                self._deadline = deadline
                yield
                if self._result.is_there:
                    deadline.check()  # DuckDB may have been interrupted, and the rest of the rows be missing
        except KeyboardInterrupt:
            if not self._transaction.is_open:
                with suppress(duckdb.Error):  # what is open then is a statement's own
                    database.rollback()
            raise
        finally:
            self._deadline = None
            session.store.origins.end()
