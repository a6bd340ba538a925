"""The PEP 249 connection: one database directory, asked through a DuckDB of its own."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from aios_db import recollection
from aios_db.attachment import Attachment
from aios_db.config import given_config
from aios_db.cursor import NOT_IN_A_TRANSACTION, Cursor, Parameters, Row, close_duckdb
from aios_db.duckdb_errors import translated
from aios_db.encoder import LazyEncoder
from aios_db.plans import Surroundings, Texts
from aios_db.schema import errors
from aios_db.schema.errors import DataError, InterfaceError, NotSupportedError, ProgrammingError
from aios_db.udfs import registry

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from aios_db.recollection import Recollection
    from aios_db.schema.config import Config
    from aios_db.store.store import MemoryStore

MEMORY = ":memory:"


class Connection:
    """A database of memories.

    ``execute``, ``sql``, ``begin`` and the fetch methods work on a cursor that each thread has for itself, so
    threads may share a connection; `cursor` makes more of them. Outside of a transaction every statement is
    committed at once, as in DuckDB.

    Tables made with ``CREATE TABLE`` live in memory, beside the database; ``ATTACH 'my.duckdb'`` keeps tables
    of your own.

    Parameters
    ----------
    path
        The database directory, made when absent; ``":memory:"`` is a temporary one.
    read_only
        Refuse every write of memories and links.
    config
        The configuration, or the path of a YAML file; by default what `aios_db.config.load_config` finds.

    Raises
    ------
    OperationalError
        The path is a file, not writable, or not a database.
    SchemaVersionError
        A newer aios_db made the database.
    """

    # PEP 249's optional extension: the exceptions as attributes.
    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        read_only: bool = False,
        config: Config | str | PathLike[str] | None = None,
    ) -> None:
        from aios_db.store.store import MemoryStore

        if read_only and str(path) == MEMORY:
            raise ProgrammingError(f"connect: {MEMORY} is a new database, to be written; leave read_only out")
        # At the end of a process that did not close it, its maintenance may be writing while it is removed.
        self._temporary = (
            tempfile.TemporaryDirectory(suffix=".aios", ignore_cleanup_errors=True)
            if str(path) == MEMORY
            else None
        )
        directory = Path(self._temporary.name) / "memory" if self._temporary else Path(path)
        self._closed = False
        self._threads = threading.local()
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        config = given_config(config)
        self._encoder = LazyEncoder(config)
        self.store: MemoryStore = MemoryStore.open(
            directory, read_only=read_only, config=config, encoder=self._encoder
        )
        self._root = duckdb.connect()
        # A time without a zone is UTC in Python; the same text must not mean another hour in SQL.
        self._root.execute("SET GLOBAL TimeZone = 'UTC'")
        self.surroundings, self.texts = Surroundings(), Texts(self._root)
        self._attachment = Attachment(self.store)
        self._attachment.install_functions(self._root)

    # -- PEP 249 ---------------------------------------------------------------------------------------------

    def cursor(self) -> Cursor:
        """Return a new cursor; one thread may use it at a time."""
        self._check_open()
        cursor = Cursor(self)
        self._cursors.add(cursor)
        return cursor

    def begin(self) -> Connection:
        """Start a transaction of this thread's cursor; see `Cursor.begin`."""
        self._cursor().begin()
        return self

    def commit(self) -> None:
        """Make this thread's transaction last; does nothing when there is none."""
        self._cursor().commit()

    def rollback(self) -> None:
        """Undo this thread's transaction; does nothing when there is none."""
        self._cursor().rollback()

    def close(self) -> None:
        """Close the connection and its cursors. Twice is harmless.

        An open transaction is rolled back; a statement that another thread runs is interrupted.
        """
        if self._closed:
            return
        self._closed = True
        for cursor in list(self._cursors):
            cursor.close()
        close_duckdb(self._root)
        self.store.close()
        self._encoder.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Connection:
        self._check_open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- DuckDB's habits -------------------------------------------------------------------------------------

    def execute(self, operation: str, parameters: Parameters | None = None) -> Cursor:
        """Run statements on this thread's cursor and return it; see `Cursor.execute`."""
        return self._cursor().execute(operation, parameters)

    def executemany(self, operation: str, seq_of_parameters: Sequence[Parameters]) -> Cursor:
        """Run a statement for each set of parameters; see `Cursor.executemany`."""
        return self._cursor().executemany(operation, seq_of_parameters)

    def sql(self, query: str, *, params: Parameters | None = None) -> duckdb.DuckDBPyRelation:
        """Return a lazy DuckDB relation over the newest version of the tables."""
        return self._cursor().sql(query, params=params)

    def register(self, name: str, rows: Any) -> Connection:
        """Let this thread's SQL read a data frame as a view called ``name``; see `Cursor.register`."""
        self._cursor().register(name, rows)
        return self

    def unregister(self, name: str) -> Connection:
        """Remove the view that `register` made; does nothing when there is none."""
        self._cursor().unregister(name)
        return self

    def fetchone(self) -> Row | None:
        """Return the next row of this thread's last result."""
        return self._cursor().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Return some rows of this thread's last result."""
        return self._cursor().fetchmany(size)

    def fetchall(self) -> list[Row]:
        """Return the rest of this thread's last result."""
        return self._cursor().fetchall()

    def arrow(self) -> pa.Table:
        """Return the rest of this thread's last result as an Arrow table."""
        return self._cursor().arrow()

    def df(self) -> pd.DataFrame:
        """Return the rest of this thread's last result as a pandas data frame."""
        return self._cursor().df()

    def pl(self) -> pl.DataFrame:
        """Return the rest of this thread's last result as a polars data frame."""
        return self._cursor().pl()

    # -- memories --------------------------------------------------------------------------------------------

    def remember(self, content: Any, **fields: Any) -> Any:
        """Store memories; they are durable when this returns, outside of a transaction.

        Parameters
        ----------
        content
            One text (the other columns as keyword arguments), or rows: a list of mappings with the columns as
            keys, an Arrow table, or a pandas or polars data frame. Rows may bring their vectors as
            ``text_embedding``.
        **fields
            Columns of the one memory, or of every row: ``title``, ``session_id``, ``speaker``,
            ``occurred_at`` …

        Returns
        -------
        str or list of str
            The ``memory_id``, or one for each row in order. The same content in one scope (user, agent,
            session) is one memory and gets the same id again.

        Raises
        ------
        ProgrammingError
            A column that does not exist.
        DataError
            A value that does not fit: no text, a NaN or a wrong length in a vector, an unreadable time.
        """
        self._check_writable()
        ids = self.store.remember(_rows(content, fields))
        return ids[0] if isinstance(content, str) else ids

    def forget(self, memory_ids: str | Iterable[str]) -> int:
        """Delete memories and their links; return how many there were."""
        self._check_writable()
        wanted = [memory_ids] if isinstance(memory_ids, str) else memory_ids
        if not isinstance(wanted, Iterable):
            raise ProgrammingError(f"cannot forget a {type(memory_ids).__name__}; give memory_ids")
        return self.store.forget(list(wanted))

    def link(self, source_id: str, target_id: str, kind: str = "user", weight: float = 1.0) -> None:
        """Link two memories; an existing link of that kind becomes stronger.

        Raises
        ------
        ProgrammingError
            One of the two is not a memory.
        DataError
            The weight is not in (0, 1].
        """
        self._check_writable()
        columns = {"source_id": source_id, "target_id": target_id, "kind": kind, "weight": weight}
        try:
            given = pa.table({name: [value] for name, value in columns.items()})
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"cannot link {source_id!r} and {target_id!r}: {error}") from error
        self.store.link(given)

    def recall(self, query: str, k: int | None = None, **options: Any) -> list[Recollection]:
        """Return the memories that answer a query best, best first.

        Parameters
        ----------
        query
            Text in any words.
        k
            How many; by default the configuration's ``recall.k``.
        **options
            As for the SQL function: ``hops``, ``session_id``, ``agent_id``, ``user_id``, ``since``,
            ``until``, ``tier``, ``vector_weight``, ``keyword_weight``, ``graph_weight``, ``recency_weight``.

        Raises
        ------
        ProgrammingError
            An option that does not exist, or a k that is negative.
        """
        sql, parameters = recollection.statement(query, k, options)
        cursor = self._cursor("recall")  # one of its own: rows of the caller's last result may be unread
        return recollection.from_arrow(cursor.execute(sql, parameters).arrow())

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def errors(self) -> Any:
        """The errors raised inside SQL functions, for translation."""
        return self._attachment.errors

    def newest_tables(self) -> Mapping[str, Any]:
        """Return the newest version of each table's dataset, by name."""
        self.store.refresh()
        return {table: self.store.dataset(table) for table in registry.TABLES}

    def _cursor(self, purpose: str = "statements") -> Cursor:
        self._check_open()
        cursors: dict[str, Cursor] = self._threads.__dict__
        if purpose not in cursors or cursors[purpose].closed:
            cursors[purpose] = self.cursor()
        return cursors[purpose]

    def _new_duckdb(self, cursor: Cursor) -> duckdb.DuckDBPyConnection:
        reference = weakref.ref(cursor)
        with translated(self.errors):
            database = self._root.cursor()
            self._attachment.install_objects(database, lambda table: _pinned(reference, table))
        return database

    def _check_writable(self) -> None:
        if self._cursor().in_transaction:
            raise NotSupportedError(NOT_IN_A_TRANSACTION)

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the connection is closed; open another with aios_db.connect(path)")


def _rows(content: Any, fields: Mapping[str, Any]) -> pa.Table:
    from aios_db.store.tables import table_from

    if isinstance(content, str):
        return table_from([{"text": content, **fields}])
    rows = table_from(content)
    if fields and rows.num_rows:
        constant = table_from([fields] * rows.num_rows)
        for name in fields:
            if name in rows.column_names:
                raise ProgrammingError(f"remember: {name!r} is given both as an argument and as a column")
            rows = rows.append_column(name, constant.column(name))
    return rows


def _pinned(reference: weakref.ref[Cursor], table: str) -> Any:
    cursor = reference()
    if cursor is None:
        raise InterfaceError("the cursor of this relation is gone; keep the connection alive")
    return cursor.tables[table]
