"""The PEP 249 connection: one database directory, asked through a DuckDB of its own."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from aios_db.attachment import Attachment
from aios_db.closing import close_duckdb
from aios_db.config import given_config
from aios_db.cursor import Cursor
from aios_db.duckdb_errors import translated
from aios_db.encoder import LazyEncoder
from aios_db.fetching import Fetching, Row
from aios_db.finding import Finding
from aios_db.lifecycle.connection import Living
from aios_db.memories import Memories
from aios_db.moving import Moving
from aios_db.multimodal import Multimodal
from aios_db.parameters import Parameters, Texts
from aios_db.pep249 import Pep249Errors
from aios_db.pinned import PinnedTables
from aios_db.plans import PlanEpoch
from aios_db.provenance.connection import Provenance
from aios_db.schema.errors import InterfaceError, NotSupportedError, ProgrammingError
from aios_db.security.restrictions import Restrictions
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store import forks
from aios_db.udfs import registry
from aios_db.undoing import Undoing
from aios_db.writes import NOT_IN_A_TRANSACTION

if TYPE_CHECKING:
    from aios_db.config import GivenConfig
    from aios_db.schema.deadlines import Deadlines
    from aios_db.store.store import MemoryStore
    from aios_db.udfs.macros import SqlObject
    from aios_db.udfs.writing import WriteGuard

MEMORY = ":memory:"
_STATEMENTS = "statements"
_T = TypeVar("_T")


class Connection(Fetching, Finding, Living, Memories, Multimodal, Moving, Provenance, Undoing, Pep249Errors):
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
        The configuration; values by section and key, over what is configured; or a YAML file. By default it
        is what `aios_db.config.load_config` finds.
    scope
        Whose memories the connection sees and changes, as if there were no others.
    restrictions
        What SQL may reach and use; by default nothing outside of the database when it is read-only, else all.
    source
        The source of all that it writes.

    Raises
    ------
    OperationalError
        The path is a file, not writable, or not a database.
    SchemaVersionError
        A newer aios_db made the database.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        read_only: bool = False,
        config: GivenConfig = None,
        scope: Scope = EVERYTHING,
        restrictions: Restrictions | None = None,
        source: str | None = None,
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
        self._closed = self._inherited = False
        self.restrictions = restrictions or Restrictions.given(read_only=read_only)
        self.restrictions.keep_out_of(directory)
        self._threads = threading.local()
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        config = given_config(config, None if self._temporary else directory)
        self._encoder = LazyEncoder(config)
        self.store: MemoryStore = MemoryStore.open(
            directory, read_only=read_only, config=config, encoder=self._encoder, scope=scope
        )
        self._root = duckdb.connect()
        # A time without a zone is UTC in Python; the same text must not mean another hour in SQL.
        self._root.execute("SET GLOBAL TimeZone = 'UTC'")
        self.plan_epoch, self.texts = PlanEpoch(), Texts(self._root)
        self._attachment = Attachment(self.store)
        self._attachment.install_functions(self._root)
        self.store.database.restrictions, self.store.database.source = self.restrictions, source
        self.restrictions.apply(self._root)
        forks.watch(self)

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

    def warm(self) -> None:
        """Load the text model and choose what runs it, so that no later call waits for that."""
        encoder = self.store.encoder  # at the version of the vectors
        assert encoder is self._encoder
        self._encoder.warm()

    def interrupt(self) -> None:
        """Stop the statements that other threads run on this connection and its cursors; they raise there."""
        for cursor in list(self._cursors):
            cursor.interrupt()

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

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Return some rows of this thread's last result."""
        return self._cursor().fetchmany(size)

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def errors(self) -> Any:
        """The errors raised inside SQL functions, for translation."""
        return self._attachment.errors

    @property
    def deadlines(self) -> Deadlines:
        """By when the statements that run must have ended."""
        return self._attachment.deadlines

    @property
    def guard(self) -> WriteGuard:
        """What is told of the writing functions in a statement."""
        return self._attachment.guard

    def newest_tables(self) -> PinnedTables:
        """Return the newest version of each table."""
        self.store.refresh()
        return PinnedTables(self.store)

    def _take(self, how: Callable[[Any], _T]) -> _T:
        return self._cursor()._take(how)

    def _cursor(self, purpose: str = _STATEMENTS) -> Cursor:
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
            for name in self.store.joint.encoders.names:
                self._attachment.install_macro(database, registry.plugged_macro(name))
        return database

    def install_macro(self, database: duckdb.DuckDBPyConnection, macro: SqlObject) -> None:
        """Create one more macro for a cursor's DuckDB."""
        self._attachment.install_macro(database, macro)

    def _open_cursors(self) -> list[Cursor]:
        return [cursor for cursor in self._cursors if not cursor.closed]

    def _check_writable(self) -> None:
        self._check_open()
        # Asked for, not made: to make one takes tens of milliseconds.
        cursor: Cursor | None = self._threads.__dict__.get(_STATEMENTS)
        if cursor is not None and not cursor.closed and cursor.in_transaction:
            raise NotSupportedError(NOT_IN_A_TRANSACTION)

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        self._closed = self._inherited = True
        if self._temporary is not None:
            self._temporary._finalizer.detach()  # type: ignore[attr-defined]  # the parent's to remove

    def _check_open(self) -> None:
        if self._inherited:
            raise forks.is_inherited("the connection")
        if self._closed:
            raise InterfaceError("the connection is closed; open another with aios_db.connect(path)")


def _pinned(reference: weakref.ref[Cursor], table: str) -> Any:
    cursor = reference()
    if cursor is None:
        raise InterfaceError("the cursor of this relation is gone; keep the connection alive")
    cursor.connection._check_open()
    return cursor.tables[table]
