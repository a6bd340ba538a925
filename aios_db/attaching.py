"""`attach` and `detach`: aios_db as an extension of a DuckDB connection that the caller has."""

from __future__ import annotations

import logging
import threading
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from aios_db.attachment import MARK, Attachment, unregister
from aios_db.config import GivenConfig, given_config
from aios_db.encoder import LazyEncoder
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.sources import check_source
from aios_db.sql.duckdb_errors import translated
from aios_db.sql.one_row import one_row
from aios_db.store import forks
from aios_db.udfs import functions, registry

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore
    from aios_db.schema.config import Config

logger = logging.getLogger("aios_db.attach")

_lock = threading.Lock()
# All that were ever made: DuckDB may call a function of one that is detached, from a query prepared before.
_attachments: list[Attachment] = []


def attach(
    connection: duckdb.DuckDBPyConnection,
    path: str | PathLike[str],
    schema: str = "main",
    *,
    read_only: bool = False,
    config: GivenConfig = None,
    source: str | None = None,
) -> None:
    """Make aios_db an extension of a DuckDB connection that the caller already has.

    Afterwards ``SELECT … FROM recall('…') JOIN my_own_table …`` works on it. Nothing is written into the
    caller's database file: with ``schema="main"`` views and macros are temporary objects of this connection
    (attach each ``connection.cursor()`` that wants them); any other name becomes an in-memory catalog that
    every connection of the DuckDB instance sees, as ``schema.recall(…)`` and ``schema.memories``, as long as
    this one is open. Two databases may be attached under two schemas.

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
        The configuration; values by section and key, over what is configured; or a YAML file. By default it
        is what `aios_db.config.load_config` finds.
    source
        What is written through the connection comes from there, whatever it says itself, as with `connect`.

    Raises
    ------
    ProgrammingError
        The DuckDB instance holds another aios_db database, this connection is attached already or in a
        transaction, or a table or macro of the user's has the name of one of ours.
    OperationalError
        The database cannot be opened.
    """
    forks.refuse_if_lost()
    check_source(source, "attach")
    place = None if schema == "main" else schema
    with _lock, translated(functions.ErrorBook()):
        _release_closed()
        _refuse_transaction(connection, "attach")
        held = _held(connection)
        attachment = next((each for each in held if _is_of(each, path)), None)
        if attachment is not None and connection in attachment.users:
            raise ProgrammingError(
                "attach: this connection is attached already; call aios_db.detach(connection) first"
            )
        if place is None:
            _check_names(connection)
        _refuse_others(path, held, attachment, place)
        if attachment is not None:
            _refuse_otherwise(path, attachment, read_only, source)
        if attachment is None:
            attachment = _installed(connection, held, _open(path, read_only, given_config(config, path)))
            attachment.store.database.source = source
        try:
            attachment.install_objects(connection, attachment.newest, place)
        except duckdb.Error:
            if place is None:
                unregister(connection)
            attachment.release(connection)
            raise
        attachment.users[connection] = place
    logger.info("attached", extra={"path": str(path), "schema": schema, "read_only": read_only})


def detach(connection: duckdb.DuckDBPyConnection, schema: str | None = None) -> None:
    """Take the views and macros out of a connection.

    The functions, which all connections of a DuckDB instance share, go with the connection that was attached
    first.

    Parameters
    ----------
    schema
        Of two databases, that of the one to detach; without it all of them are.

    Raises
    ------
    ProgrammingError
        The connection is not attached or in a transaction, or it is the one attached first and others still
        are.
    """
    forks.refuse_if_lost()
    with _lock, translated(functions.ErrorBook()):
        _release_closed()
        place = None if schema == "main" else schema
        attached = [each for each in _held(connection) if connection in each.users]
        attached = [each for each in attached if schema is None or each.users[connection] == place]
        if not attached:
            where = "" if schema is None else f" as {schema!r}"
            raise ProgrammingError(f"detach: no aios_db database is attached to this connection{where}")
        _refuse_transaction(connection, "detach")
        for attachment in attached:
            others = len(attachment.connections()) - 1
            if others and attachment.is_home(connection):
                raise ProgrammingError(
                    f"detach: {others} more cursors are attached through this connection; detach them first"
                )
        for attachment in attached:
            attachment.remove_objects(connection)
            attachment.release(connection)


def _refuse_others(
    path: str | PathLike[str], held: list[Attachment], attachment: Attachment | None, place: str | None
) -> None:
    """Refuse a second database whose objects would have the names of the first one's."""
    for other in held:
        if other is not attachment and other.opened and (place is None or place in other.users.values()):
            raise ProgrammingError(
                f"attach: this DuckDB instance already holds {other.store.path}; attach {path} with "
                "another schema=…, detach the first, or open it with another duckdb.connect()"
            )


def _refuse_otherwise(
    path: str | PathLike[str], attachment: Attachment, read_only: bool, source: str | None
) -> None:
    """Refuse to attach again in another way what is attached."""
    store = attachment.store
    if read_only != store.read_only:
        raise ProgrammingError(
            f"attach: this DuckDB instance holds {path} {_access(store.read_only)}, and cannot hold it "
            f"{_access(read_only)} too; use another duckdb.connect()"
        )
    if source != store.source:
        raise ProgrammingError(
            f"attach: this DuckDB instance holds {path} with source={store.source!r}, and cannot hold it "
            f"with source={source!r} too; use another duckdb.connect()"
        )


def _access(read_only: bool) -> str:
    return "for reading" if read_only else "for writing"


def _open(path: str | PathLike[str], read_only: bool, config: Config) -> MemoryStore:
    from aios_db.memory_store import MemoryStore

    return MemoryStore.open(Path(path), read_only=read_only, config=config, encoder=LazyEncoder(config))


def _held(connection: duckdb.DuckDBPyConnection) -> list[Attachment]:
    """Return the attachments whose functions a DuckDB instance has, in the order of attaching."""
    rows = connection.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE starts_with(function_name, ?)", [MARK]
    ).fetchall()
    names = {row[0] for row in rows}
    return [each for each in _attachments if each.mark in names]


def _is_of(attachment: Attachment, path: str | PathLike[str]) -> bool:
    return attachment.opened is not None and attachment.store.path.resolve() == Path(path).resolve()


def _installed(
    connection: duckdb.DuckDBPyConnection, held: list[Attachment], store: MemoryStore
) -> Attachment:
    """Return an attachment that serves a store: one whose functions were left behind, or a new one."""
    for each in held:
        if each.opened is None and each.serves(store):
            each.opened = store
            return each
    attachment = Attachment(store)
    attachment.suffix = f"_{attachment.token[:8]}" if held else ""
    attachment.install_functions(connection)
    _attachments.append(attachment)
    forks.watch(attachment)
    return attachment


def _release_closed() -> None:
    """Close the stores of connections that were closed without `detach`."""
    for attachment in _attachments:
        attachment.release()


def _refuse_transaction(connection: duckdb.DuckDBPyConnection, what: str) -> None:
    """Refuse what a rollback would undo by half: functions are no part of a transaction."""
    first, second = (one_row(connection, "SELECT txid_current()") for _ in range(2))
    if first == second:
        raise ProgrammingError(f"{what}: a transaction is open; commit or roll it back first")


def _check_names(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse to hide or replace what is the user's."""
    macro_names = [item.name for item in registry.sql_objects() if item.kind == "MACRO"]
    taken = one_row(
        connection,
        """
        SELECT 'table', table_name FROM information_schema.tables WHERE list_contains($views, table_name)
        UNION ALL
        SELECT 'macro', function_name FROM duckdb_functions()
        WHERE function_type IN ('macro', 'table_macro') AND NOT internal
            AND database_name IN ('temp', current_database()) AND list_contains($macros, function_name)
        ORDER BY ALL
        """,
        {"views": [*registry.TABLES, *registry.VIEWS], "macros": macro_names},
    )
    if taken:
        raise ProgrammingError(
            f"attach: the connection already has a {taken[0]} {taken[1]!r}; attach with schema='aios' (or "
            "another free name) and write aios.recall(…)"
        )
