"""The PEP 249 cursor, with DuckDB's own ways to take a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from aios_db import dml, own_objects, writes
from aios_db.closing import close_duckdb
from aios_db.duckdb_errors import translated
from aios_db.fetching import Fetching, distinct_names
from aios_db.interrupts import stops_at_ctrl_c
from aios_db.parameters import Parameters
from aios_db.plans import Plans
from aios_db.schema import deadlines
from aios_db.schema.errors import InterfaceError, NotSupportedError, OperationalError, ProgrammingError
from aios_db.security import limits, loopholes
from aios_db.statements import first_word, returns_count
from aios_db.store import forks

if TYPE_CHECKING:
    import pyarrow as pa

    from aios_db.connection import Connection
    from aios_db.udfs.writing import Bound


Row = tuple[Any, ...]
_T = TypeVar("_T")

_NO_ROWS = "SELECT true AS Success LIMIT 0"  # what DuckDB 2 returns for COMMIT
_COUNT = 'SELECT {}::BIGINT AS "Count"'  # what DuckDB returns for INSERT, UPDATE and DELETE


class Cursor(Fetching):
    """Executes statements and hands out their rows.

    Made by `Connection.cursor`; a cursor belongs to one thread at a time, and each thread may have its own.
    Each statement sees one version of the tables: the newest when it started.
    """

    arraysize: int = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.tables = connection.newest_tables()
        self._written = False  # whether the result is that of a statement that wrote
        self._duckdb: duckdb.DuckDBPyConnection | None = connection._new_duckdb(self)
        self._plans = Plans(connection.surroundings, connection.texts)
        self._result: duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation | None = None
        self._description: list[tuple[Any, ...]] | None = None
        self._rowcount = -1
        self._at_first_fetch = (
            ""  # the query that makes the result, where it costs too much if nobody reads it
        )
        self._in_transaction = False
        forks.watch(self)

    # -- PEP 249 ---------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The connection that made this cursor."""
        return self._connection

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """One 7-tuple a column (name, type, and five None), or None when the statement returns no rows."""
        return self._description

    @property
    def rowcount(self) -> int:
        """Rows an INSERT, UPDATE or DELETE changed; -1 when that is unknown, as after a SELECT."""
        return self._rowcount

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
        self._forget_result()
        with self._running(self._connection.restrictions.timeout_s):
            statements = self._plans.statements(database, operation)
            for position, statement in enumerate(statements, start=1):
                last = position == len(statements)
                self.tables = self._connection.newest_tables()  # with what the statements before have written
                self._run(database, statement, parameters if last else None)
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Parameters]) -> Cursor:
        """Run a statement once for each set of parameters; `rowcount` is the sum. No result is kept."""
        if self._change_many(operation, seq_of_parameters):
            return self
        total = 0
        for parameters in seq_of_parameters:
            self.execute(operation, parameters)
            total += max(self._rowcount, 0)
            self._drain()
        self._forget_result()
        self._rowcount = total
        return self

    def fetchone(self) -> Row | None:
        """Return the next row, or None when there is none left."""
        with self._reading():
            row: Row | None = self._rows().fetchone()
        return row

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Return up to ``size`` rows (by default `arraysize`)."""
        wanted = self.arraysize if size is None else size
        if wanted < 0:
            raise ProgrammingError(f"fetchmany: the size is {wanted}; give 0 or more")
        with self._reading():
            rows: list[Row] = self._rows().fetchmany(wanted)
        return rows

    def fetchall(self) -> list[Row]:
        """Return all rows that are left."""
        with self._reading():
            rows: list[Row] = self._rows().fetchall()
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
        """Stop the statement that another thread runs on this cursor; it raises there."""
        if self._duckdb is not None:
            self._duckdb.interrupt()

    def close(self) -> None:
        """Close the cursor; any later use raises `InterfaceError`. An open transaction is rolled back."""
        if self._duckdb is not None:
            close_duckdb(self._duckdb)
            self._duckdb = self._result = None

    def __enter__(self) -> Cursor:
        self._open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- transactions ----------------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction of this cursor is open."""
        return self._in_transaction

    def begin(self) -> Cursor:
        """Start a transaction; until it ends, nothing this cursor writes is seen by others.

        Raises
        ------
        ProgrammingError
            One is open already.
        """
        database = self._open()
        if self._in_transaction:
            raise ProgrammingError("begin: a transaction is open already; commit or roll back first")
        with translated(self._connection.errors):
            database.begin()
        self._in_transaction = True
        return self

    def commit(self) -> None:
        """Make the transaction last; does nothing when there is none.

        Raises
        ------
        OperationalError
            It cannot: a statement in it failed, or it is in conflict with another. It is rolled back then.
        """
        database = self._open()
        if self._in_transaction:
            self._in_transaction = False
            try:
                self._refuse_failed(database)
                with translated(self._connection.errors):
                    database.commit()
            finally:
                self._plans.transaction_ended()

    def rollback(self) -> None:
        """Undo the transaction; does nothing when there is none."""
        database = self._open()
        if self._in_transaction:
            self._in_transaction = False
            try:
                with translated(self._connection.errors):
                    database.rollback()
            finally:
                self._plans.transaction_ended()

    # -- DuckDB's habits -------------------------------------------------------------------------------------

    def sql(self, query: str, *, params: Parameters | None = None) -> duckdb.DuckDBPyRelation:
        """Return a lazy DuckDB relation (``.filter``, ``.order``, ``.df`` …); an unread result is dropped.

        Of several statements the last one is the relation; those before it are executed.
        """
        database = self._open()
        self._forget_result()
        self.tables = self._connection.newest_tables()
        with self._running(self._connection.restrictions.timeout_s):
            *earlier, last = database.extract_statements(query or _NO_ROWS)
            for statement in earlier:
                self._run(database, statement, None)
                self.tables = self._connection.newest_tables()
            self._forget_result()
            self._refuse(last)
            if last.type == duckdb.StatementType.TRANSACTION:
                self._transaction_statement(last.query)
                return database.sql(_NO_ROWS)
            limited = self._connection.restrictions.runs_at_once
            if dml.target_of(last) is not None or (limited and limits.may_change(last)):
                self._run(database, last, params)
                return database.sql(_NO_ROWS) if self._result is None else self._relation(database)
            called = self._called(database, last)
            with self._plans.around(database, last), self._watching(last) as bound:
                relation = database.sql(last, params=params)
            if bound and last.type == duckdb.StatementType.CREATE:
                writes.refuse_lost(last, bound)
            if not (bound or called or limited) or last.type != duckdb.StatementType.SELECT:
                return relation
            del relation  # a relation runs when it is read, and again when it is read again
            self._run(database, last, params)
            return self._relation(database)

    def register(self, name: str, rows: Any) -> Cursor:
        """Let this cursor's SQL read a data frame, a relation or anything of Arrow as a view called ``name``.

        Raises
        ------
        ProgrammingError
            It is nothing that DuckDB reads, or a table of the database has that name.
        """
        database = self._open()
        if own_objects.is_relation(name.lower()):
            raise ProgrammingError(f"register: {name} is a table of the database; choose another name")
        with translated(self._connection.errors):
            database.register(name, rows)
        self._plans.meaning_changed()
        return self

    def unregister(self, name: str) -> Cursor:
        """Remove the view that `register` made; does nothing when there is none.

        Raises
        ------
        ProgrammingError
            A table of the database has that name.
        """
        database = self._open()
        if own_objects.is_relation(name.lower()):
            raise ProgrammingError(f"unregister: {name} is a table of the database, and stays")
        with translated(self._connection.errors):
            database.unregister(name)
        self._plans.meaning_changed()
        return self

    # -- inside ----------------------------------------------------------------------------------------------

    def _run(self, database: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: Any) -> None:
        self._forget_result()
        deadlines.current().next_statement()
        self._connection.store.origins.begin(statement.query)
        self._refuse(statement)
        if statement.type == duckdb.StatementType.TRANSACTION:
            self._transaction_statement(statement.query)
            self._has_no_rows()
            return
        target = dml.target_of(statement)
        if target is not None:
            self._change(database, target, statement, [parameters])
            return
        if self._connection.restrictions.max_rows is None:
            self._run_in_duckdb(database, statement, parameters, lambda: None)
            return
        whole = limits.undone_if_refused(database, statement, in_transaction=self._in_transaction)
        with whole as keep:
            self._run_in_duckdb(database, statement, parameters, keep)

    def _run_in_duckdb(
        self,
        database: duckdb.DuckDBPyConnection,
        statement: duckdb.Statement,
        parameters: Any,
        keep: Callable[[], None],
    ) -> None:
        called = self._called(database, statement)
        with self._watching(statement) as bound:
            self._plans.execute(database, statement, parameters)
        if returns_count(statement, database.description):
            row = database.fetchone()
            keep()
            writes.refuse_lost(statement, bound)
            if row:
                self._has_changed(int(row[0]))
            else:
                self._has_no_rows()
        elif duckdb.ExpectedResultType.QUERY_RESULT in statement.expected_result_type:
            if called and not bound:
                raise writes.misplaced(called)
            if bound and statement.type == duckdb.StatementType.SELECT:
                self._plans.writes(statement)
                self._refuse_in_transaction()
                self._carry_out(database, statement, parameters, bound)
            elif self._connection.restrictions.max_rows is not None:
                self._limit(database, keep)
            self._description = [tuple(column) for column in database.description or []]
            self._result = database
            if statement.type == duckdb.StatementType.EXECUTE:
                writes.refuse_prepared(self._description)
        else:
            self._has_no_rows()

    def _refuse(self, statement: duckdb.Statement) -> None:
        own_objects.refuse_change(statement)
        if not self._connection.restrictions.external_access:
            loopholes.refuse(statement)

    def _limit(self, database: duckdb.DuckDBPyConnection, keep: Callable[[], None]) -> None:
        """Read the result that a statement has, as far as it may go, and keep what it changed."""
        columns = [(column[0], str(column[1])) for column in database.description or []]
        rows = limits.at_most(database, self._connection.restrictions.max_rows)
        keep()
        self._read_back(database, *writes.readable(rows.columns, columns))

    def _called(self, database: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> str | None:
        """Return the writing function that a SELECT calls by its name, if any; not in a transaction."""
        called = writes.called(database, statement)
        if called:
            self._refuse_in_transaction()
        return called

    def _refuse_in_transaction(self) -> None:
        if self._in_transaction:
            raise NotSupportedError(writes.NOT_IN_A_TRANSACTION)

    @contextmanager
    def _watching(self, statement: duckdb.Statement, *, trying: bool = True) -> Iterator[Bound]:
        """Refuse, while a statement is bound, the calls of writing functions that it could not carry out.

        While ``trying``, those that write at once write nothing yet.
        """
        check = partial(writes.check, statement, in_transaction=self._in_transaction)
        with self._connection.guard.watching(check, trying=trying) as bound:
            yield bound

    def _carry_out(
        self,
        database: duckdb.DuckDBPyConnection,
        statement: duckdb.Statement,
        parameters: Any,
        bound: Bound,
    ) -> None:
        """Write what a SELECT that has run asks for; the result is then what the calls returned."""
        columns = [(column[0], str(column[1])) for column in database.description or []]
        guard = self._connection.guard
        result = limits.at_most(database, self._connection.restrictions.max_rows)
        writes.refuse_lost(statement, bound)
        writes.refuse_misplaced(database, guard, statement.query, parameters, result, bound)
        at_once = writes.writes_at_once(bound)
        for write in bound.postponed:
            write()
        if at_once and not bound.postponed:
            # It has succeeded without having written; now it is to write.
            with self._watching(statement, trying=False) as made:
                self._plans.execute(database, statement, parameters)
                result = limits.at_most(database, self._connection.restrictions.max_rows, written=True)
            writes.refuse_lost(statement, made)
        self._read_back(database, *writes.carry_out(self._connection.store, result, columns))

    def _change_many(self, operation: str, sets: Sequence[Parameters]) -> bool:
        """Change a table of the database in one commit for all sets of parameters; False where it is none."""
        database = self._open()
        with self._running(self._connection.restrictions.timeout_s):
            statements = self._plans.statements(database, operation)
            target = dml.target_of(statements[0]) if len(statements) == 1 and sets else None
            if target is None:
                return False
            self._forget_result()
            self._connection.store.origins.begin(statements[0].query)
            self.tables = self._connection.newest_tables()
            self._change(database, target, statements[0], sets)
        count = max(self._rowcount, 0)
        self._drain()
        self._forget_result()
        self._rowcount = count
        return True

    def _change(
        self,
        database: duckdb.DuckDBPyConnection,
        target: dml.Target,
        statement: duckdb.Statement,
        sets: Sequence[Parameters | None],
    ) -> None:
        """Insert into, update or delete from a table of the database."""
        self._refuse_in_transaction()
        with self._watching(statement) as bound:
            count, result = dml.run(
                database,
                target,
                statement,
                sets,
                self._connection.store,
                self._see_newest,
                self._connection.restrictions.max_rows,
            )
        writes.refuse_lost(statement, bound)
        if result is None:
            self._has_changed(count)
            return
        self._read_back(database, *writes.readable(result[0].columns, result[1]))
        self._description = [tuple(column) for column in database.description or []]
        self._result = database

    def _has_changed(self, count: int) -> None:
        """Make how many rows a statement changed the result, as DuckDB does."""
        self._rowcount = count
        self._description = [("Count", duckdb.sqltypes.BIGINT, None, None, None, None, None)]
        self._result, self._at_first_fetch = self._duckdb, _COUNT.format(count)

    def _has_no_rows(self) -> None:
        """Let a fetch find no rows, as in DuckDB, behind a statement that returns none."""
        self._result, self._at_first_fetch = self._duckdb, _NO_ROWS

    def _see_newest(self) -> None:
        self.tables = self._connection.newest_tables()

    def _read_back(self, database: duckdb.DuckDBPyConnection, rows: pa.Table, reading: str) -> None:
        """Make rows the result, as if a statement had just returned them."""
        database.register(writes.WRITTEN, rows)
        self._written = True
        database.execute(reading)

    def _relation(self, database: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """Return the result as a relation that can be read many times."""
        table = self.arrow()
        return database.from_arrow(table.rename_columns(distinct_names(table.column_names)))

    @staticmethod
    def _refuse_failed(database: duckdb.DuckDBPyConnection) -> None:
        try:
            database.execute("SELECT 1").fetchall()
        except duckdb.Error as error:  # DuckDB's own COMMIT would roll back without a word
            database.rollback()
            raise OperationalError(
                "commit: the transaction was rolled back, since a statement in it failed"
            ) from error

    def _transaction_statement(self, query: str) -> None:
        match first_word(query):
            case "begin" | "start":
                self.begin()
            case "commit" | "end":
                self.commit()
            case _:
                self.rollback()

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        forks.keep(self._duckdb, self._result)
        self._duckdb = self._result = None

    def _reading(self) -> AbstractContextManager[None]:
        """Return what a result is read in; one that lies in memory takes no time to speak of."""
        return self._running(None if self._written else self._connection.restrictions.timeout_s)

    @contextmanager
    def _running(self, timeout_s: float | None) -> Iterator[None]:
        limited = limits.deadline(self._duckdb, self._connection.deadlines, timeout_s)
        try:
            with limited as deadline, translated(self._connection.errors), stops_at_ctrl_c(self._duckdb):
                yield
                if self._result is not None:
                    deadline.check()  # DuckDB may have been interrupted, and the rest of the rows be missing
        except KeyboardInterrupt:
            if self._duckdb is not None and not self._in_transaction:
                with suppress(duckdb.Error):  # what is open then is a statement's own
                    self._duckdb.rollback()
            raise
        finally:
            self._connection.store.origins.end()

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._connection._check_open()
        if self._duckdb is None:
            raise InterfaceError("the cursor is closed; make another with connection.cursor()")
        return self._duckdb

    def _rows(self) -> Any:
        database = self._open()
        if self._result is None:
            raise ProgrammingError("there is no result to fetch from; execute a query first")
        if self._at_first_fetch:
            database.execute(self._at_first_fetch)
            self._at_first_fetch = ""
        return self._result

    def _take(self, how: Callable[[Any], _T]) -> _T:
        with self._reading():
            return how(self._rows())

    def _drain(self) -> None:
        if self._result is not None and not self._at_first_fetch:
            self.fetchall()

    def _forget_result(self) -> None:
        if self._result is not None and self._result is self._duckdb and hasattr(self._duckdb, "abort"):
            self._duckdb.abort()  # DuckDB 2 streams: an unread result would keep the connection busy
        if self._written and self._duckdb is not None:
            self._duckdb.unregister(writes.WRITTEN)
        self._result, self._written, self._at_first_fetch = None, False, ""
        self._description = None
        self._rowcount = -1
