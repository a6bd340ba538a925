"""The PEP 249 cursor, with DuckDB's own ways to take a result."""

from __future__ import annotations

import itertools
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from aios_db.duckdb_errors import translated
from aios_db.plans import Plans
from aios_db.schema.errors import InterfaceError, NotSupportedError, OperationalError, ProgrammingError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from aios_db.connection import Connection

# DuckDB 2 recommends relations for Arrow; one result object that can do all is this class's purpose.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning, "aios_db.cursor")

Parameters = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]

# A statement that calls one of these runs to its end at once: its effect must not wait for a fetch.
_WRITER = re.compile(rb'"?(?:remember|forget|link)\b', re.IGNORECASE)

_FIRST_WORD = re.compile(r"\A(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*(\w+)", re.DOTALL)

_NO_ROWS = "SELECT true AS Success LIMIT 0"  # what DuckDB 2 returns for COMMIT

# DuckDB 2 raises it where 1.5 waits for the other thread.
_BUSY: type[Exception] | tuple[()] = getattr(duckdb, "ResourceInUseException", ())
_PATIENCE_S = 0.01

NOT_IN_A_TRANSACTION = (
    "memories and links are durable as soon as they are written and cannot be rolled back: commit or roll "
    "back the transaction first, then write them"
)


class Cursor:
    """Executes statements and hands out their rows.

    Made by `Connection.cursor`; a cursor belongs to one thread at a time, and each thread may have its own.
    Each statement sees one version of the tables: the newest when it started.
    """

    arraysize: int = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.tables = connection.newest_tables()
        self._duckdb: duckdb.DuckDBPyConnection | None = connection._new_duckdb(self)
        self._plans = Plans(connection.surroundings, connection.texts)
        self._result: duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation | None = None
        self._description: list[tuple[Any, ...]] | None = None
        self._rowcount = -1
        self._in_transaction = False

    # -- PEP 249 ---------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The connection that made this cursor."""
        return self._connection

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """One 7-tuple a column (name, type, and five None), or None when there is no result."""
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
        self.tables = self._connection.newest_tables()
        with translated(self._connection.errors):
            statements = self._plans.statements(database, operation)
            for position, statement in enumerate(statements, start=1):
                last = position == len(statements)
                self._run(database, statement, parameters if last else None)
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Parameters]) -> Cursor:
        """Run a statement once for each set of parameters; `rowcount` is the sum. No result is kept."""
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
        with translated(self._connection.errors):
            row: Row | None = self._rows().fetchone()
        return row

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Return up to ``size`` rows (by default `arraysize`)."""
        wanted = self.arraysize if size is None else size
        if wanted < 0:
            raise ProgrammingError(f"fetchmany: the size is {wanted}; give 0 or more")
        with translated(self._connection.errors):
            rows: list[Row] = self._rows().fetchmany(wanted)
        return rows

    def fetchall(self) -> list[Row]:
        """Return all rows that are left."""
        with translated(self._connection.errors):
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
        with translated(self._connection.errors):
            *earlier, last = database.extract_statements(query or _NO_ROWS)
            for statement in earlier:
                self._run(database, statement, None)
            self._forget_result()
            if last.type == duckdb.StatementType.TRANSACTION:
                self._transaction_statement(last.query)
                return database.sql(_NO_ROWS)
            self._check_writes(last.query)
            with self._plans.around(database, last):
                return database.sql(last, params=params)

    def register(self, name: str, rows: Any) -> Cursor:
        """Let this cursor's SQL read a data frame, a relation or anything of Arrow as a view called ``name``.

        Raises
        ------
        ProgrammingError
            It is nothing that DuckDB reads, or a table of the database has that name.
        """
        database = self._open()
        if name.lower() in self.tables:
            raise ProgrammingError(f"register: {name} is a table of the database; choose another name")
        with translated(self._connection.errors):
            database.register(name, rows)
        self._plans.meaning_changed()
        return self

    def unregister(self, name: str) -> Cursor:
        """Remove the view that `register` made; does nothing when there is none."""
        database = self._open()
        with translated(self._connection.errors):
            database.unregister(name)
        self._plans.meaning_changed()
        return self

    def arrow(self) -> pa.Table:
        """Return the rows that are left as an Arrow table."""
        with translated(self._connection.errors):
            return self._rows().to_arrow_table()

    def df(self) -> pd.DataFrame:
        """Return the rows that are left as a pandas data frame."""
        with translated(self._connection.errors):
            return self._rows().df()

    def pl(self) -> pl.DataFrame:
        """Return the rows that are left as a polars data frame; of equal names the later get a number."""
        import polars

        table = self.arrow()
        frame = polars.from_arrow(table.rename_columns(distinct_names(table.column_names)))
        assert isinstance(frame, polars.DataFrame)
        return frame

    # -- inside ----------------------------------------------------------------------------------------------

    def _run(self, database: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: Any) -> None:
        self._forget_result()
        if statement.type == duckdb.StatementType.TRANSACTION:
            self._transaction_statement(statement.query)
            return
        writes = self._check_writes(statement.query)
        self._plans.execute(database, statement, parameters)
        kinds = statement.expected_result_type
        if duckdb.ExpectedResultType.CHANGED_ROWS in kinds and _is_count(database.description):
            row = database.fetchone()
            self._rowcount = int(row[0]) if row else -1
        elif duckdb.ExpectedResultType.QUERY_RESULT in kinds:
            self._description = [tuple(column) for column in database.description or []]
            self._result = database
            if writes:
                self._result = database.from_arrow(self.arrow())

    def _check_writes(self, query: str) -> bool:
        writes = _writes(query)
        if writes and self._in_transaction:
            raise NotSupportedError(NOT_IN_A_TRANSACTION)
        return writes

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
        word = _FIRST_WORD.search(query)
        match word[1].lower() if word else "":
            case "begin" | "start":
                self.begin()
            case "commit" | "end":
                self.commit()
            case _:
                self.rollback()

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._connection._check_open()
        if self._duckdb is None:
            raise InterfaceError("the cursor is closed; make another with connection.cursor()")
        return self._duckdb

    def _rows(self) -> Any:
        self._open()
        if self._result is None:
            raise ProgrammingError("there is no result to fetch from; execute a query first")
        return self._result

    def _drain(self) -> None:
        if self._result is not None:
            self.fetchall()

    def _forget_result(self) -> None:
        if self._result is not None and self._result is self._duckdb and hasattr(self._duckdb, "abort"):
            self._duckdb.abort()  # DuckDB 2 streams: an unread result would keep the connection busy
        self._result = None
        self._description = None
        self._rowcount = -1


def distinct_names(names: Sequence[str]) -> list[str]:
    """Return column names, those that came before with ``_1``, ``_2`` … added, as DuckDB does for pandas."""
    taken = set(names)
    seen: set[str] = set()
    distinct = []
    for name in names:
        free = name
        if name in seen:
            free = next(each for n in itertools.count(1) if (each := f"{name}_{n}") not in taken)
        seen.add(name)
        taken.add(free)
        distinct.append(free)
    return distinct


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


def _writes(query: str) -> bool:
    """Tell whether a statement calls a function that writes; the words in a text or a comment are no call."""
    text = query.encode()
    if not _WRITER.search(text):
        return False
    called = False
    for start, kind in duckdb.tokenize(query):
        if kind == duckdb.token_type.comment:
            continue
        if called and text.startswith(b"(", start):
            return True
        called = _WRITER.match(text, start) is not None
    return False


def _is_count(description: Sequence[Sequence[Any]] | None) -> bool:
    return description is not None and len(description) == 1 and description[0][0] == "Count"
