"""The PEP 249 connection: one database directory, asked through a DuckDB of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, TypeVar

import duckdb

from aios_db.config import GivenConfig
from aios_db.cursor import Cursor
from aios_db.methods import finding, lifecycle, moving, multimodal, provenance, undoing, writing
from aios_db.schema import errors
from aios_db.schema.shortage import tells_shortage
from aios_db.schema.sources import PYTHON
from aios_db.security.restrictions import Restrictions
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.session import Session
from aios_db.sql.fetching import Fetching, Row
from aios_db.sql.parameters import Parameters

_T = TypeVar("_T")


class Connection(Fetching):
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
        self._session = Session(
            path, read_only=read_only, config=config, scope=scope, restrictions=restrictions, source=source
        )
        self.store = self.session.store
        self.restrictions = self.session.restrictions

    @property
    def session(self) -> Session:
        """What is open, for the methods of `aios_db.methods`; it cannot be set."""
        return self._session

    # -- PEP 249's optional extension: what is raised, for programs that know a connection and no module -----

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

    # -- memories: each a function of a file in methods/ -----------------------------------------------------

    entry = PYTHON
    """The ``source`` of what is remembered and names none."""

    recall = tells_shortage(finding.recall)
    get = tells_shortage(finding.get)
    remember = tells_shortage(writing.remember)
    update = tells_shortage(writing.update)
    link = tells_shortage(writing.link)
    forget = tells_shortage(writing.forget)
    erase = tells_shortage(writing.erase)
    optimize = tells_shortage(writing.optimize)
    compress = tells_shortage(writing.compress)
    history = tells_shortage(undoing.history)
    undo = tells_shortage(undoing.undo)
    restore = tells_shortage(undoing.restore)
    quarantine = tells_shortage(provenance.quarantine)
    release = tells_shortage(provenance.release)
    audit = tells_shortage(provenance.audit)
    rollback_source = tells_shortage(provenance.rollback_source)
    consolidate = tells_shortage(lifecycle.consolidate)
    undo_consolidation = tells_shortage(lifecycle.undo_consolidation)
    consolidator = tells_shortage(lifecycle.consolidator)
    supersede = tells_shortage(lifecycle.supersede)
    fold = tells_shortage(lifecycle.fold)
    evict = tells_shortage(lifecycle.evict)
    register_encoder = tells_shortage(multimodal.register_encoder)
    fit_fusion = tells_shortage(multimodal.fit_fusion)
    backup = tells_shortage(moving.backup)
    export = tells_shortage(moving.export)

    # -- PEP 249 ---------------------------------------------------------------------------------------------

    def cursor(self) -> Cursor:
        """Return a new cursor; one thread may use it at a time."""
        self.session.check_open()
        cursor = Cursor(self)
        self.session.cursors.add(cursor)
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

    @tells_shortage
    def warm(self) -> None:
        """Load the text model and choose what runs it, so that no later call waits for that."""
        self.session.warm()

    def interrupt(self) -> None:
        """Stop the statements that other threads run on this connection and its cursors; they raise there."""
        self.session.cursors.interrupt()

    def close(self) -> None:
        """Close the connection and its cursors. Twice is harmless.

        An open transaction is rolled back; a statement that another thread runs is interrupted.
        """
        self.session.close()

    def __enter__(self) -> Connection:
        self.session.check_open()
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

    def _take(self, how: Callable[[Any], _T]) -> _T:
        return self._cursor()._take(how)

    def _cursor(self) -> Cursor:
        self.session.check_open()
        return self.session.cursors.of_thread(self.cursor)
