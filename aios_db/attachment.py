"""aios_db as an extension of a DuckDB connection: functions, macros and views over one database."""

from __future__ import annotations

import logging
import threading
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from aios_db.config import given_config
from aios_db.duckdb_errors import translated
from aios_db.encoder import LazyEncoder
from aios_db.schema.errors import InterfaceError, ProgrammingError
from aios_db.udfs import functions, macros, registry
from aios_db.udfs.live import LiveDataset

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from aios_db.schema.config import Config
    from aios_db.store.store import MemoryStore

logger = logging.getLogger("aios_db.attach")

_MARK = "aios_attachment_"
_lock = threading.Lock()
# All that were ever made: DuckDB may call a function of one that is detached, from a query prepared before.
_attachments: dict[str, Attachment] = {}


@dataclass
class Attachment:
    """One store in one DuckDB instance: its functions once, its views and macros for each connection.

    DuckDB takes a function out only through the connection that registered it, the home. Where that was
    closed first, the functions stay, and serve what is attached to the instance next.
    """

    opened: MemoryStore | None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    errors: functions.ErrorBook = field(default_factory=functions.ErrorBook)
    users: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, str | None] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    """The attached connections, and the schema of each."""
    _home: Callable[[], duckdb.DuckDBPyConnection | None] = lambda: None
    _calls: list[Callable[..., Any]] = field(default_factory=list)
    _dimension: int = 0

    @property
    def store(self) -> MemoryStore:
        """The open store.

        Raises
        ------
        InterfaceError
            It was detached.
        """
        if self.opened is None:
            raise InterfaceError("the aios_db database was detached; attach it again with aios_db.attach")
        return self.opened

    def install_functions(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Register the Python functions; every connection of the DuckDB instance sees them."""
        self._home, self._dimension = weakref.ref(connection), self.store.dimension
        self._calls = functions.install(
            connection, self._functions(), lambda: self.store, self._dimension, self.errors
        )

    def install_objects(
        self,
        connection: duckdb.DuckDBPyConnection,
        reader: Callable[[str], pads.Dataset],
        schema: str | None = None,
    ) -> None:
        """Create views and macros for one connection; ``reader`` returns the dataset a view shows now."""
        for table in registry.TABLES:
            connection.register(f"lance_{table}", LiveDataset(partial(reader, table)))
        if schema is not None and schema in self._schemas():
            return  # its views and macros are those of every connection, but for what they read
        if schema is not None:
            connection.execute(f"ATTACH ':memory:' AS {macros.quoted(schema)}")
        try:
            macros.create(connection, registry.sql_objects(self.store.config.recall), schema)
        except duckdb.Error:
            if schema is not None:
                connection.execute(f"DETACH {macros.quoted(schema)}")
            raise

    def remove_objects(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Drop what `install_objects` made."""
        schema = self.users.pop(connection, None)
        if schema is None:
            macros.drop(connection, registry.sql_objects())
        elif schema not in self._schemas():
            connection.execute(f"DETACH {macros.quoted(schema)}")
        _unregister(connection)

    def newest(self, table: str) -> pads.Dataset:
        """Return the newest version of a table."""
        self.store.refresh()
        return self.store.dataset(table)

    def open(self, store: MemoryStore) -> None:
        """Serve a store with the functions that are installed already."""
        if store.dimension != self._dimension:
            store.close()
            raise ProgrammingError(
                f"attach: this DuckDB instance was attached to vectors of {self._dimension} numbers, and "
                f"{store.path} has {store.dimension}; open it with another duckdb.connect()"
            )
        self.opened = store

    def release(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """Close the store when no open connection is attached, and take the functions out of their home."""
        if self.opened is None or self.connections():
            return
        store, self.opened = self.opened, None
        store.close()
        if connection is not None and connection is self._home():
            functions.remove(connection, self._functions())

    def is_home(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Tell whether the functions were registered by this connection."""
        return connection is self._home()

    def connections(self) -> list[duckdb.DuckDBPyConnection]:
        """Return the attached connections that are open."""
        return [connection for connection in list(self.users) if _is_open(connection)]

    def _schemas(self) -> set[str | None]:
        return {self.users[connection] for connection in self.connections()}

    def _functions(self) -> tuple[functions.ScalarFunction, ...]:
        mark = functions.ScalarFunction(
            _MARK + self.token, ["VARCHAR"], "VARCHAR", lambda store, column: column
        )
        return (*registry.FUNCTIONS, mark)


def attach(
    connection: duckdb.DuckDBPyConnection,
    path: str | PathLike[str],
    schema: str = "main",
    *,
    read_only: bool = False,
    config: Config | str | PathLike[str] | None = None,
) -> None:
    """Make aios_db an extension of a DuckDB connection that the caller already has.

    Afterwards ``SELECT … FROM recall('…') JOIN my_own_table …`` works on it. Nothing is written into the
    caller's database file: with ``schema="main"`` views and macros are temporary objects of this connection
    (attach each ``connection.cursor()`` that wants them); any other name becomes an in-memory catalog, so
    that they are called as ``schema.recall(…)`` (a cursor that reads ``schema.memories`` is attached too).

    Parameters
    ----------
    connection
        A plain DuckDB connection, in memory or on a file, read-only or not.
    path
        The database directory; made when absent, unless ``read_only``.
    schema
        Where the macros and views go.
    read_only
        Refuse writes.
    config
        The configuration, or the path of a YAML file; by default what `aios_db.config.load_config` finds.

    Raises
    ------
    ProgrammingError
        The DuckDB instance holds another aios_db database, this connection is attached already or in a
        transaction, or a table or macro of the user's has the name of one of ours.
    OperationalError
        The database cannot be opened.
    """
    place = None if schema == "main" else schema
    with _lock, translated(functions.ErrorBook()):
        _release_closed()
        _refuse_transaction(connection, "attach")
        if _is_attached(connection):
            raise ProgrammingError(
                "attach: this connection is attached already; call aios_db.detach(connection) first"
            )
        if place is None:
            _check_names(connection)
        attachment = _find(connection)
        if attachment is None:
            attachment = Attachment(_open(path, read_only, given_config(config)))
            attachment.install_functions(connection)
            _attachments[attachment.token] = attachment
        elif attachment.opened is None:
            attachment.open(_open(path, read_only, given_config(config)))
        elif Path(path).resolve() != attachment.store.path.resolve():
            raise ProgrammingError(
                f"attach: this DuckDB instance already holds {attachment.store.path}; detach it first, or "
                f"open {path} with another duckdb.connect()"
            )
        elif read_only != attachment.store.read_only:
            raise ProgrammingError(
                f"attach: this DuckDB instance holds {path} {_access(attachment.store.read_only)}, and "
                f"cannot hold it {_access(read_only)} too; use another duckdb.connect()"
            )
        try:
            attachment.install_objects(connection, attachment.newest, place)
        except duckdb.Error:
            _unregister(connection)
            attachment.release(connection)
            raise
        attachment.users[connection] = place
    logger.info("attached", extra={"path": str(path), "schema": schema, "read_only": read_only})


def detach(connection: duckdb.DuckDBPyConnection) -> None:
    """Take the views and macros out of a connection.

    The functions, which all connections of a DuckDB instance share, go with the connection that was attached
    first.

    Raises
    ------
    ProgrammingError
        The connection is not attached or in a transaction, or it is the one attached first and others still
        are.
    """
    with _lock, translated(functions.ErrorBook()):
        _release_closed()
        attachment = _find(connection)
        if attachment is None or not _is_attached(connection):
            raise ProgrammingError("detach: no aios_db database is attached to this connection")
        _refuse_transaction(connection, "detach")
        others = len(attachment.connections()) - 1
        if others and attachment.is_home(connection):
            raise ProgrammingError(
                f"detach: {others} more cursors are attached through this connection; detach them first"
            )
        attachment.remove_objects(connection)
        attachment.release(connection)


def _access(read_only: bool) -> str:
    return "for reading" if read_only else "for writing"


def _open(path: str | PathLike[str], read_only: bool, config: Config) -> MemoryStore:
    from aios_db.store.store import MemoryStore

    return MemoryStore.open(Path(path), read_only=read_only, config=config, encoder=LazyEncoder(config))


def _find(connection: duckdb.DuckDBPyConnection) -> Attachment | None:
    rows = connection.execute(
        "SELECT function_name FROM duckdb_functions() WHERE starts_with(function_name, ?)", [_MARK]
    ).fetchall()
    return _attachments.get(rows[0][0].removeprefix(_MARK)) if rows else None


def _release_closed() -> None:
    """Close the stores of connections that were closed without `detach`."""
    for attachment in _attachments.values():
        attachment.release()


def _is_open(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.cursor().close()  # leaves alone what another thread may run on it
    except duckdb.ConnectionException:
        return False
    return True


def _refuse_transaction(connection: duckdb.DuckDBPyConnection, what: str) -> None:
    """Refuse what a rollback would undo by half: functions are no part of a transaction."""
    first, second = (connection.execute("SELECT txid_current()").fetchone() for _ in range(2))
    if first == second:
        raise ProgrammingError(f"{what}: a transaction is open; commit or roll it back first")


def _unregister(connection: duckdb.DuckDBPyConnection) -> None:
    for table in registry.TABLES:
        with suppress(duckdb.Error):
            connection.unregister(f"lance_{table}")


def _is_attached(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell by the live datasets, which DuckDB keeps for one connection alone."""
    view = f"lance_{registry.TABLES[0]}"
    found = connection.execute("SELECT 1 FROM duckdb_views() WHERE view_name = ? AND temporary", [view])
    return found.fetchone() is not None


def _check_names(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse to hide or replace what is the user's."""
    macro_names = [item.name for item in registry.sql_objects() if item.kind == "MACRO"]
    taken = connection.execute(
        """
        SELECT 'table', table_name FROM information_schema.tables WHERE list_contains($views, table_name)
        UNION ALL
        SELECT 'macro', function_name FROM duckdb_functions()
        WHERE function_type IN ('macro', 'table_macro') AND NOT internal
            AND database_name IN ('temp', current_database()) AND list_contains($macros, function_name)
        ORDER BY ALL
        """,
        {"views": list(registry.TABLES), "macros": macro_names},
    ).fetchone()
    if taken:
        raise ProgrammingError(
            f"attach: the connection already has a {taken[0]} {taken[1]!r}; attach with schema='aios' (or "
            "another free name) and write aios.recall(…)"
        )
