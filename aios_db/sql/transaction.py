"""The transaction of one cursor, over tables of the user's; memories are written outside of any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from aios_db.schema.errors import NotSupportedError, OperationalError, ProgrammingError
from aios_db.sql.duckdb_errors import translated
from aios_db.sql.statements import first_word
from aios_db.sql.writes import NOT_IN_A_TRANSACTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from aios_db.sql.plans import Plans
    from aios_db.udfs.functions import ErrorBook
    from aios_db.udfs.on_demand import OnDemand


class Transaction:
    """What BEGIN, COMMIT and ROLLBACK do on a connection of DuckDB's.

    Attributes
    ----------
    is_open
        Whether one was begun and has not ended.
    """

    def __init__(
        self, errors: ErrorBook, database: duckdb.DuckDBPyConnection, plans: Plans, objects: OnDemand
    ) -> None:
        self._errors, self._database, self._plans, self._objects = errors, database, plans, objects
        self.is_open = False

    def begin(self) -> None:
        """Start one; a `ProgrammingError` where one is open already."""
        if self.is_open:
            raise ProgrammingError("begin: a transaction is open already; commit or roll back first")
        with translated(self._errors):
            self._objects.all()  # what is made in a transaction is undone with it
            self._database.begin()
        self.is_open = True

    def commit(self) -> None:
        """Make it last; an `OperationalError` where it cannot, and is rolled back."""
        self._end(self._commit)

    def rollback(self) -> None:
        """Undo it."""
        self._end(self._database.rollback)

    def statement(self, query: str) -> None:
        """Do what a BEGIN, COMMIT, ROLLBACK or one of their other names says."""
        match first_word(query):
            case "begin" | "start":
                self.begin()
            case "commit" | "end":
                self.commit()
            case _:
                self.rollback()

    def refuse_writing(self) -> None:
        """Raise a `NotSupportedError` where one is open, since memories cannot be written in it."""
        if self.is_open:
            raise NotSupportedError(NOT_IN_A_TRANSACTION)

    def _end(self, end: Callable[[], object]) -> None:
        if not self.is_open:
            return
        self.is_open = False
        try:
            with translated(self._errors):
                end()
        finally:
            self._plans.transaction_ended()

    def _commit(self) -> None:
        try:
            self._database.execute("SELECT 1").fetchall()
        except duckdb.Error as error:  # DuckDB's own COMMIT would roll back without a word
            self._database.rollback()
            raise OperationalError(
                "commit: the transaction was rolled back, since a statement in it failed"
            ) from error
        self._database.commit()
