"""aios_db as an extension of a DuckDB connection: functions, macros and views over one database."""

from __future__ import annotations

import logging
import threading
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from aios_db.config import GivenConfig, given_config
from aios_db.encoder import LazyEncoder
from aios_db.schema.deadlines import Deadlines
from aios_db.schema.errors import InterfaceError, ProgrammingError
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.schema.sources import check_source
from aios_db.sql.duckdb_errors import translated
from aios_db.sql.one_row import one_row
from aios_db.store import forks
from aios_db.udfs import functions, macros, registry, writing
from aios_db.udfs.live import LiveDataset
from aios_db.udfs.on_demand import Item, OnDemand, relation, temporary
from aios_db.udfs.types import VARCHAR

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from aios_db.memory_store import MemoryStore
    from aios_db.schema.config import Config

logger = logging.getLogger("aios_db.attach")

_MARK = "aios_attachment_"
_lock = threading.Lock()
# All that were ever made: DuckDB may call a function of one that is detached, from a query prepared before.
_attachments: dict[str, Attachment] = {}


@dataclass(eq=False)
class Attachment:
    """One store in one DuckDB instance: its functions once, its views and macros for each connection.

    DuckDB takes a function out only through the connection that registered it, the home. Where that was
    closed first, the functions stay, and serve what is attached to the instance next.
    """

    opened: MemoryStore | None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    errors: functions.ErrorBook = field(default_factory=functions.ErrorBook)
    deadlines: Deadlines = field(default_factory=Deadlines)
    users: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, str | None] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    """The attached connections, and the schema of each."""
    suffix: str = ""
    """Behind the names of the functions, where the instance has those of another database already."""
    guard: writing.WriteGuard = field(init=False)
    _views: list[duckdb.DuckDBPyRelation] = field(default_factory=list)
    _home: Callable[[], duckdb.DuckDBPyConnection | None] = lambda: None
    _calls: list[Callable[..., Any]] = field(default_factory=list)
    _dimension: int = 0

    def __post_init__(self) -> None:
        self.guard = writing.WriteGuard(self.errors, {each.name: each.instead for each in registry.DEFERRED})

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
            connection,
            self._functions(),
            lambda: self.store,
            self._dimension,
            self.errors,
            self.suffix,
            self.guard.called,
            self.guard.postpone,
            self.deadlines,
        )
        create_function: Any = connection.create_function  # its annotations know no type written as text
        # Without side effects, so that DuckDB evaluates it while it binds.
        for name, function in ((writing.MARK, self.guard.bind), (writing.SITE, self.guard.site)):
            create_function(name + self.suffix, function, ["VARCHAR"], "VARCHAR", side_effects=False)
            self._calls.append(function)

    def objects_for(
        self, connection: duckdb.DuckDBPyConnection, reader: Callable[[str], pads.Dataset]
    ) -> OnDemand:
        """Return the views and macros of one connection, none made yet; ``reader``: see `install_objects`."""
        datasets = self._datasets(reader)
        tables = [relation(connection, name, dataset) for name, dataset in datasets.items()]
        return OnDemand([*tables, *(self.item(connection, each) for each in self._sql_objects)])

    def item(self, connection: duckdb.DuckDBPyConnection, item: macros.SqlObject) -> Item:
        """Return a view or macro of one connection."""
        return temporary(connection, item, self.guard, self.suffix)

    def install_objects(
        self,
        connection: duckdb.DuckDBPyConnection,
        reader: Callable[[str], pads.Dataset],
        schema: str | None = None,
    ) -> None:
        """Create views and macros for one connection; ``reader`` returns the dataset a view shows now."""
        if schema is None:
            self.objects_for(connection, reader).all()
            return
        if schema in self._schemas():
            return  # its views and macros are those of every connection
        connection.execute(f"ATTACH ':memory:' AS {macros.quoted(schema)}")
        try:
            with connection.cursor() as inside:
                inside.execute(f"USE {macros.quoted(schema)}")
                for name, dataset in self._datasets(reader).items():
                    view = inside.from_arrow(dataset)
                    view.create_view(name)
                    self._views.append(view)  # DuckDB 1.5 reads through it and does not own it
            with self.guard.watching(lambda _: None):  # DuckDB binds what it is to keep
                macros.create(connection, self._sql_objects, schema, self.suffix)
        except duckdb.Error:
            connection.execute(f"DETACH {macros.quoted(schema)}")
            raise

    @cached_property
    def _sql_objects(self) -> tuple[macros.SqlObject, ...]:
        by_source = self.store.trust.active and self.store.source_share < 1
        return registry.sql_objects(self.store.config, by_source=by_source)

    def _datasets(self, reader: Callable[[str], pads.Dataset]) -> dict[str, LiveDataset]:
        """Return what the views read, by the name that they read it by."""
        return {
            f"lance_{table}": LiveDataset(
                partial(reader, table),
                (lambda: self.store.recalls) if table == MEMORIES else None,
                self.store.wall(table),
                self.errors.record,
            )
            for table in registry.TABLES
        }

    def remove_objects(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Drop what `install_objects` made."""
        schema = self.users.pop(connection, None)
        if schema is None:
            macros.drop(connection, registry.sql_objects())
        elif schema not in self._schemas():
            connection.execute(f"DETACH {macros.quoted(schema)}")
        if schema is None:
            _unregister(connection)

    def newest(self, table: str) -> pads.Dataset:
        """Return the newest version of a table."""
        self.store.refresh()
        return self.store.dataset(table)

    def serves(self, store: MemoryStore) -> bool:
        """Tell whether the functions that are installed fit a store: their vectors have its length."""
        return store.dimension == self._dimension

    def release(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """Close the store when no open connection is attached, and take the functions out of their home."""
        if self.opened is None or self.connections():
            return
        store, self.opened = self.opened, None
        store.close()
        if connection is not None and connection is self._home():
            functions.remove(connection, self._functions(), self.suffix)
            for name in (writing.MARK, writing.SITE):
                connection.remove_function(name + self.suffix)

    def abandon(self) -> None:
        """Keep the user's connections from being destroyed in a forked child; see `aios_db.store.forks`."""
        forks.keep(*self.users)

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
            f"{_MARK}{self.token}", [VARCHAR], VARCHAR, lambda store, column: column
        )
        return (*registry.FUNCTIONS, mark)


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
        for other in held:
            if other is not attachment and other.opened and (place is None or place in other.users.values()):
                raise ProgrammingError(
                    f"attach: this DuckDB instance already holds {other.store.path}; attach {path} with "
                    "another schema=…, detach the first, or open it with another duckdb.connect()"
                )
        if attachment is not None and read_only != attachment.store.read_only:
            raise ProgrammingError(
                f"attach: this DuckDB instance holds {path} {_access(attachment.store.read_only)}, and "
                f"cannot hold it {_access(read_only)} too; use another duckdb.connect()"
            )
        if attachment is not None and source != attachment.store.source:
            raise ProgrammingError(
                f"attach: this DuckDB instance holds {path} with source={attachment.store.source!r}, and "
                f"cannot hold it with source={source!r} too; use another duckdb.connect()"
            )
        if attachment is None:
            attachment = _installed(connection, held, _open(path, read_only, given_config(config, path)))
            attachment.store.database.source = source
        try:
            attachment.install_objects(connection, attachment.newest, place)
        except duckdb.Error:
            if place is None:
                _unregister(connection)
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


def _access(read_only: bool) -> str:
    return "for reading" if read_only else "for writing"


def _open(path: str | PathLike[str], read_only: bool, config: Config) -> MemoryStore:
    from aios_db.memory_store import MemoryStore

    return MemoryStore.open(Path(path), read_only=read_only, config=config, encoder=LazyEncoder(config))


def _held(connection: duckdb.DuckDBPyConnection) -> list[Attachment]:
    """Return the attachments whose functions a DuckDB instance has, in the order of attaching."""
    rows = connection.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE starts_with(function_name, ?)", [_MARK]
    ).fetchall()
    names = {row[0] for row in rows}
    return [each for token, each in _attachments.items() if f"{_MARK}{token}{each.suffix}" in names]


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
    _attachments[attachment.token] = attachment
    forks.watch(attachment)
    return attachment


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
    first, second = (one_row(connection, "SELECT txid_current()") for _ in range(2))
    if first == second:
        raise ProgrammingError(f"{what}: a transaction is open; commit or roll it back first")


def _unregister(connection: duckdb.DuckDBPyConnection) -> None:
    for table in registry.TABLES:
        with suppress(duckdb.Error):
            connection.unregister(f"lance_{table}")


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
