"""aios_db as an extension of a DuckDB connection: functions, macros and views over one database."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from aios_db.config import given_config
from aios_db.duckdb_errors import translated
from aios_db.encoder import LazyEncoder
from aios_db.schema.errors import ProgrammingError
from aios_db.udfs import functions, macros, registry
from aios_db.udfs.live import LiveDataset

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from aios_db.schema.config import Config
    from aios_db.store.store import MemoryStore

logger = logging.getLogger("aios_db.attach")

_MARK = "aios_attachment_"
_lock = threading.Lock()
_attachments: dict[str, Attachment] = {}


@dataclass
class Attachment:
    """One store in one DuckDB instance: its functions once, its views and macros for each connection."""

    store: MemoryStore
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    errors: functions.ErrorBook = field(default_factory=functions.ErrorBook)
    schemas: dict[int, str | None] = field(default_factory=dict)  # by id of the connection; home first

    def install_functions(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Register the Python functions; every connection of the DuckDB instance sees them."""
        functions.install(connection, self._functions(), self.store, self.store.dimension, self.errors)

    def remove_functions(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Take the Python functions out again."""
        functions.remove(connection, self._functions())

    def install_objects(
        self,
        connection: duckdb.DuckDBPyConnection,
        reader: Callable[[str], pads.Dataset],
        schema: str | None = None,
    ) -> None:
        """Create views and macros for one connection; ``reader`` returns the dataset a view shows now."""
        for table in registry.TABLES:
            connection.register(f"lance_{table}", LiveDataset(partial(reader, table)))
        macros.create(connection, registry.sql_objects(self.store.config.recall), schema)

    def remove_objects(self, connection: duckdb.DuckDBPyConnection, schema: str | None = None) -> None:
        """Drop what `install_objects` made."""
        if schema is None:
            macros.drop(connection, registry.sql_objects())
        else:
            connection.execute(f"DETACH {macros.quoted(schema)}")
        for table in registry.TABLES:
            connection.unregister(f"lance_{table}")

    def newest(self, table: str) -> pads.Dataset:
        """Return the newest version of a table."""
        self.store.refresh()
        return self.store.dataset(table)

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
    that they are called as ``schema.recall(…)``.

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
        The DuckDB instance holds another aios_db database, this connection is attached already, or a table of
        the user's has the name of a view.
    OperationalError
        The database cannot be opened.
    """
    place = None if schema == "main" else schema
    with _lock, translated(functions.ErrorBook()):
        if _is_attached(connection):
            raise ProgrammingError(
                "attach: this connection is attached already; call aios_db.detach(connection) first"
            )
        if place is None:
            _check_names(connection)
        attachment = _find(connection)
        if attachment is None:
            attachment = _open(connection, path, read_only, given_config(config))
        elif Path(path).resolve() != attachment.store.path.resolve():
            raise ProgrammingError(
                f"attach: this DuckDB instance already holds {attachment.store.path}; detach it first, or "
                f"open {path} with another duckdb.connect()"
            )
        try:
            if place is not None:
                connection.execute(f"ATTACH ':memory:' AS {macros.quoted(place)}")
            attachment.install_objects(connection, attachment.newest, place)
            attachment.schemas[id(connection)] = place
        finally:
            if not attachment.schemas:
                _discard(connection, attachment)
    logger.info("attached", extra={"path": str(path), "schema": schema, "read_only": read_only})


def detach(connection: duckdb.DuckDBPyConnection) -> None:
    """Take the views and macros out of a connection.

    The functions, which all connections of a DuckDB instance share, go with the connection that was attached
    first.

    Raises
    ------
    ProgrammingError
        The connection is not attached, or it is the one attached first and others still are.
    """
    with _lock:
        attachment = _find(connection)
        if attachment is None or not _is_attached(connection):
            raise ProgrammingError("detach: no aios_db database is attached to this connection")
        is_home = id(connection) == next(iter(attachment.schemas))
        if is_home and len(attachment.schemas) > 1:
            raise ProgrammingError(
                f"detach: {len(attachment.schemas) - 1} more cursors are attached through this connection; "
                "detach them first"
            )
        attachment.remove_objects(connection, attachment.schemas.pop(id(connection), None))
        if is_home:
            _discard(connection, attachment)


def _open(
    connection: duckdb.DuckDBPyConnection, path: str | PathLike[str], read_only: bool, config: Config
) -> Attachment:
    from aios_db.store.store import MemoryStore

    store = MemoryStore.open(Path(path), read_only=read_only, config=config, encoder=LazyEncoder(config))
    attachment = Attachment(store)
    attachment.install_functions(connection)
    _attachments[attachment.token] = attachment
    return attachment


def _discard(connection: duckdb.DuckDBPyConnection, attachment: Attachment) -> None:
    attachment.remove_functions(connection)
    del _attachments[attachment.token]
    attachment.store.close()


def _find(connection: duckdb.DuckDBPyConnection) -> Attachment | None:
    rows = connection.execute(
        "SELECT function_name FROM duckdb_functions() WHERE starts_with(function_name, ?)", [_MARK]
    ).fetchall()
    return _attachments.get(rows[0][0].removeprefix(_MARK)) if rows else None


def _is_attached(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell by the live datasets, which DuckDB keeps for one connection alone."""
    view = f"lance_{registry.TABLES[0]}"
    found = connection.execute("SELECT 1 FROM duckdb_views() WHERE view_name = ? AND temporary", [view])
    return found.fetchone() is not None


def _check_names(connection: duckdb.DuckDBPyConnection) -> None:
    taken = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE list_contains(?, table_name) ORDER BY ALL",
        [list(registry.TABLES)],
    ).fetchone()
    if taken:
        raise ProgrammingError(
            f"attach: the connection already has a table {taken[0]!r}; attach with schema='aios' (or another "
            "free name) and write aios.recall(…)"
        )
