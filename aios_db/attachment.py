"""Functions, macros and views over one database, in a DuckDB instance."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import duckdb

from aios_db.schema.deadlines import Deadlines
from aios_db.schema.errors import InterfaceError
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.store import forks
from aios_db.udfs import functions, macros, registry, writing
from aios_db.udfs.live import LiveDataset
from aios_db.udfs.on_demand import Item, OnDemand, relation, temporary
from aios_db.udfs.types import VARCHAR

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from aios_db.memory_store import MemoryStore

MARK = "aios_attachment_"
"""Begins the name of a function that each attachment has."""


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
            unregister(connection)

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

    @property
    def mark(self) -> str:
        """The name of the function by which a DuckDB instance is known to have those of this attachment."""
        return f"{MARK}{self.token}{self.suffix}"

    def _functions(self) -> tuple[functions.ScalarFunction, ...]:
        mark = functions.ScalarFunction(
            f"{MARK}{self.token}", [VARCHAR], VARCHAR, lambda store, column: column
        )
        return (*registry.FUNCTIONS, mark)


def unregister(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop the views of the tables that one connection has."""
    for table in registry.TABLES:
        with suppress(duckdb.Error):
            connection.unregister(f"lance_{table}")


def _is_open(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.cursor().close()  # leaves alone what another thread may run on it
    except duckdb.ConnectionException:
        return False
    return True
