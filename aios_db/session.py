"""`Session`: what a connection has open, a database and a DuckDB whose SQL asks it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

from aios_db.attachment import Attachment
from aios_db.config import given_config
from aios_db.cursors import Cursors
from aios_db.encoder import LazyEncoder
from aios_db.pinned import PinnedTables
from aios_db.schema.errors import InterfaceError, NotSupportedError, ProgrammingError
from aios_db.schema.text import path_of
from aios_db.security.restrictions import Restrictions
from aios_db.sql.closing import close_duckdb
from aios_db.sql.duckdb_errors import translated
from aios_db.sql.parameters import Texts
from aios_db.sql.plans import PlanEpoch
from aios_db.sql.writes import NOT_IN_A_TRANSACTION
from aios_db.store import forks
from aios_db.udfs import registry
from aios_db.udfs.on_demand import Definitions

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from aios_db.config import GivenConfig
    from aios_db.cursor import Cursor
    from aios_db.memory_store import MemoryStore
    from aios_db.schema.deadlines import Deadlines
    from aios_db.security.scope import Scope
    from aios_db.udfs.functions import ErrorBook
    from aios_db.udfs.macros import SqlObject
    from aios_db.udfs.on_demand import Item, OnDemand
    from aios_db.udfs.writing import WriteGuard

MEMORY = ":memory:"


class Connected(Protocol):
    """What the functions in `aios_db.methods` ask of the connection whose methods they are.

    Attributes
    ----------
    entry
        The ``source`` of what is remembered and names none.
    """

    entry: str

    @property
    def session(self) -> Session:
        """What it has open."""
        ...

    @property
    def store(self) -> MemoryStore:
        """The memories and links."""
        ...

    def cursor(self) -> Cursor:
        """Return a new cursor."""
        ...


class Session:
    """An open database and the DuckDB over it, as the cursors and methods of a connection use them.

    For the parameters see `aios_db.connection.Connection`.

    Attributes
    ----------
    store
        The database.
    restrictions
        What SQL may reach and use.
    cursors
        Those that run statements here.
    plan_epoch, texts, definitions
        Of the DuckDB instance: what plans, parameters and definitions of all its cursors share.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        read_only: bool,
        config: GivenConfig,
        scope: Scope,
        restrictions: Restrictions | None,
        source: str | None,
    ) -> None:
        from aios_db.memory_store import MemoryStore

        if read_only and str(path) == MEMORY:
            raise ProgrammingError(f"connect: {MEMORY} is a new database, to be written; leave read_only out")
        # At the end of a process that did not close it, its maintenance may be writing while it is removed.
        self._temporary = (
            tempfile.TemporaryDirectory(suffix=".aios", ignore_cleanup_errors=True)
            if str(path) == MEMORY
            else None
        )
        directory = Path(self._temporary.name) / "memory" if self._temporary else path_of(path, "connect")
        self._closed = self._inherited = False
        self.restrictions = restrictions or Restrictions.given(read_only=read_only)
        self.restrictions.keep_out_of(directory)
        self.cursors = Cursors()
        config = given_config(config, None if self._temporary else directory)
        self._encoder = LazyEncoder(config)
        self.store: MemoryStore = MemoryStore.open(
            directory, read_only=read_only, config=config, encoder=self._encoder, scope=scope
        )
        self._root = duckdb.connect()
        # A time without a zone is UTC in Python; the same text must not mean another hour in SQL.
        self._root.execute("SET GLOBAL TimeZone = 'UTC'")
        self.plan_epoch, self.texts, self.definitions = PlanEpoch(), Texts(self._root), Definitions()
        self._attachment = Attachment(self.store)
        self._attachment.install_functions(self._root)
        self.store.database.restrictions, self.store.database.source = self.restrictions, source
        self.restrictions.apply(self._root)
        forks.watch(self)

    @property
    def errors(self) -> ErrorBook:
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

    def new_duckdb(self, reader: Callable[[str], pads.Dataset]) -> tuple[duckdb.DuckDBPyConnection, OnDemand]:
        """Return a connection to the DuckDB, and the views and macros of its SQL.

        ``reader`` returns what they read as one of the tables.
        """
        with translated(self.errors):
            database = self._root.cursor()
        objects = self._attachment.objects_for(database, reader)
        for name in self.store.joint.encoders.names:
            objects.add(self._attachment.item(database, registry.plugged_macro(name)))
        return database, objects

    def item(self, database: duckdb.DuckDBPyConnection, macro: SqlObject) -> Item:
        """Return one more macro for the SQL of a connection to the DuckDB."""
        return self._attachment.item(database, macro)

    def warm(self) -> None:
        """Load the text model, at the version of the vectors, and choose what runs it."""
        self.check_open()
        encoder: Any = self.store.encoder
        assert encoder is self._encoder
        self._encoder.warm()

    def check_open(self) -> None:
        """Raise an `InterfaceError` when it is closed."""
        if self._inherited:
            raise forks.is_inherited("the connection")
        if self._closed:
            raise InterfaceError("the connection is closed; open another with aios_db.connect(path)")

    def check_writable(self) -> None:
        """Raise when it is closed, and a `NotSupportedError` when this thread is in a transaction."""
        self.check_open()
        if self.cursors.in_transaction:
            raise NotSupportedError(NOT_IN_A_TRANSACTION)

    def close(self) -> None:
        """Close the cursors, DuckDB and the database; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self.cursors.close()
        close_duckdb(self._root)
        self.store.close()
        self._encoder.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def abandon(self) -> None:
        """Be closed in a forked child, untouched; see `aios_db.store.forks`."""
        self._closed = self._inherited = True
        if self._temporary is not None:
            self._temporary._finalizer.detach()  # type: ignore[attr-defined]  # the parent's to remove
