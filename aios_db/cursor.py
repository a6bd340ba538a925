"""The PEP 249 cursor, with DuckDB's own habits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import duckdb

import aios_db
from aios_db.execution import Execution
from aios_db.pinned import SeenTables
from aios_db.running import Running
from aios_db.schema.errors import InterfaceError, ProgrammingError
from aios_db.sql import own_objects
from aios_db.sql.closing import close_duckdb
from aios_db.sql.duckdb_errors import translated
from aios_db.sql.fetching import Fetching, Row
from aios_db.sql.parameters import Parameters
from aios_db.sql.plans import Plans, check_text
from aios_db.sql.result import NO_ROWS, Result
from aios_db.sql.transaction import Transaction
from aios_db.store import forks
from aios_db.udfs.macros import SqlObject

_T = TypeVar("_T")


class Cursor(Fetching):
    """Executes statements and hands out their rows.

    Made by `Connection.cursor`; a cursor belongs to one thread at a time, and each thread may have its own.
    Each statement sees one version of the tables: the newest when it started.
    """

    arraysize: int = 1

    def __init__(self, connection: aios_db.Connection) -> None:
        self._connection, self._session = connection, connection.session
        session = self._session
        self._seen = SeenTables(session)
        database, self._objects = session.new_duckdb(self._seen.table)
        self._duckdb: duckdb.DuckDBPyConnection | None = database
        self._plans = Plans(session.plan_epoch, session.texts)
        self._transaction = Transaction(session.errors, database, self._plans, self._objects)
        self._result = Result(database)
        self._running = Running(session, database, self._transaction, self._result)
        self._execution = Execution(
            session, database, self._objects, self._plans, self._transaction, self._result, self._seen
        )
        forks.watch(self)

    # -- PEP 249 ---------------------------------------------------------------------------------------------

    @property
    def connection(self) -> aios_db.Connection:
        """The connection that made this cursor."""
        return self._connection

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """One 7-tuple a column (name, type, and five None), or None when the statement returns no rows."""
        return self._result.description

    @property
    def rowcount(self) -> int:
        """Rows an INSERT, UPDATE or DELETE changed; -1 when that is unknown, as after a SELECT."""
        return self._result.rowcount

    def add_macro(self, macro: SqlObject) -> None:
        """Let the cursor's SQL call one more macro."""
        if self._duckdb is not None:
            self._objects.add(self._session.item(self._duckdb, macro))

    def execute(self, operation: str, parameters: Parameters | None = None) -> Cursor:
        """Run one or more statements; parameters (``?`` or ``$name``) are those of the last one.

        Returns
        -------
        Cursor
            This cursor, so that ``for row in cursor.execute(…)`` works.

        Raises
        ------
        ProgrammingError
            The SQL is wrong, or the parameters do not fit it.
        InterfaceError
            The cursor or its connection is closed.
        """
        database = self._open()
        self._result.forget()
        with self._running.statement():
            statements = self._plans.statements(database, operation)
            for position, statement in enumerate(statements, start=1):
                last = position == len(statements)
                self._seen.see_newest()  # with what the statements before have written
                self._execution.run(statement, parameters if last else None)
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Parameters]) -> Cursor:
        """Run a statement once for each set of parameters; no result is kept.

        `rowcount` is the sum, or -1 where one of the statements did not say how many rows it changed.
        """
        total = self._change_many(operation, seq_of_parameters)
        if total is None:
            total = 0
            for parameters in seq_of_parameters:
                self.execute(operation, parameters)
                changed = self._result.rowcount
                total = -1 if min(changed, total) < 0 else total + changed
                with self._running.fetch():
                    self._result.drain()
        self._result.forget()
        self._result.rowcount = total
        return self

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Return up to ``size`` rows (by default `arraysize`)."""
        wanted = self.arraysize if size is None else size
        if not isinstance(wanted, int) or wanted < 0:
            raise ProgrammingError(f"fetchmany: the size is {wanted!r}; give a whole number, 0 or more")
        rows: list[Row] = self._take(lambda rows: rows.fetchmany(wanted))
        return rows

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows that are left."""
        while (row := self.fetchone()) is not None:
            yield row

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Do nothing: DuckDB needs no sizes (PEP 249 allows that)."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Do nothing: DuckDB needs no sizes (PEP 249 allows that)."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._duckdb is None

    def interrupt(self) -> None:
        """Stop the statement that another thread runs on this cursor; it raises there.

        A write that has begun ends first.
        """
        if self._duckdb is not None:
            self._running.interrupt()

    def close(self) -> None:
        """Close the cursor; any later use raises `InterfaceError`. An open transaction is rolled back."""
        if self._duckdb is not None:
            close_duckdb(self._duckdb)
            self._duckdb = None

    def __enter__(self) -> Cursor:
        self._open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- transactions ----------------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction of this cursor is open."""
        return self._transaction.is_open

    def begin(self) -> Cursor:
        """Start a transaction and drop an unread result; nothing it writes is seen by others until it ends.

        Raises
        ------
        ProgrammingError
            One is open already.
        """
        self._open()
        self._result.forget()
        self._transaction.begin()
        return self

    def commit(self) -> None:
        """Make the transaction last; does nothing when there is none.

        Raises
        ------
        OperationalError
            It cannot: a statement in it failed, or it is in conflict with another. It is rolled back then.
        """
        self._open()
        self._transaction.commit()

    def rollback(self) -> None:
        """Undo the transaction; does nothing when there is none."""
        self._open()
        self._transaction.rollback()

    # -- DuckDB's habits -------------------------------------------------------------------------------------

    def sql(self, query: str, *, params: Parameters | None = None) -> duckdb.DuckDBPyRelation:
        """Return a lazy DuckDB relation (``.filter``, ``.order``, ``.df`` …); an unread result is dropped.

        Of several statements the last one is the relation; those before it are executed.
        """
        database = self._open()
        self._result.forget()
        with self._running.statement():
            self._seen.see_newest()
            check_text(query)
            *earlier, last = database.extract_statements(query) or database.extract_statements(NO_ROWS)
            for statement in earlier:
                self._execution.run(statement, None)
                self._seen.see_newest()
            return self._execution.relation(last, params)

    def register(self, name: str, rows: Any) -> Cursor:
        """Let SQL read a data frame, a relation or anything of Arrow as ``name``, and drop an unread result.

        Raises
        ------
        ProgrammingError
            It is nothing that DuckDB reads, or a table of the database has that name.
        """
        database = self._idle("register", name)
        with translated(self._session.errors):
            database.register(name, rows)
        self._plans.meaning_changed()
        return self

    def unregister(self, name: str) -> Cursor:
        """Remove the view that `register` made, if there is one, and drop an unread result.

        Raises
        ------
        ProgrammingError
            A table of the database has that name.
        """
        database = self._idle("unregister", name)
        with translated(self._session.errors):
            database.unregister(name)
        self._plans.meaning_changed()
        return self

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        forks.keep(self._duckdb)
        self._duckdb = None

    # -- inside ----------------------------------------------------------------------------------------------

    def _change_many(self, operation: str, sets: Sequence[Parameters]) -> int | None:
        """Change a table of the database in one commit for all sets of parameters; None where it is none."""
        database = self._open()
        with self._running.statement():
            statements = self._plans.statements(database, operation)
            total = self._execution.change_many(statements, sets)
        with self._running.fetch():
            self._result.drain()
        return total

    def _idle(self, what: str, name: str) -> duckdb.DuckDBPyConnection:
        database = self._open()
        if own_objects.is_relation(name.lower()):
            raise ProgrammingError(f"{what}: {name} is a table of the database: choose another name")
        self._result.forget()
        return database

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._session.check_open()
        if self._duckdb is None:
            raise InterfaceError("the cursor is closed; make another with connection.cursor()")
        return self._duckdb

    def _take(self, how: Callable[[Any], _T]) -> _T:
        self._open()
        with self._running.fetch():
            return how(self._result.rows())
