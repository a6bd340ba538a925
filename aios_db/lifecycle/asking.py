"""A DuckDB of its own over a store, or over what a store would be: for queries that no connection makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from aios_db.closing import close_duckdb
from aios_db.duckdb_errors import translated
from aios_db.interrupts import stops_at_ctrl_c
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.udfs import functions, macros, registry, writing
from aios_db.udfs.live import LiveDataset

if TYPE_CHECKING:
    from aios_db.search.index import SearchIndex
    from aios_db.store.store import MemoryStore


class Supposed:
    """A store as it would be with another index; what is recalled from it is not counted."""

    def __init__(self, store: MemoryStore, index: SearchIndex) -> None:
        self._store, self.index = store, index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Count nothing."""

    def asked(self, text: str, where: str, found: Sequence[str]) -> None:
        """Note nothing."""


class Asking:
    """Runs SQL with the functions and views of a store, on one thread; nothing is counted as recalled.

    Parameters
    ----------
    store
        What is asked.
    index
        The search index to ask; by default the store's own.
    """

    def __init__(self, store: MemoryStore, index: SearchIndex | None = None) -> None:
        store.refresh()
        self._store, self._errors = store, functions.ErrorBook()
        self._guard = writing.WriteGuard(self._errors, {})
        self._duckdb = duckdb.connect(config={"threads": 1})
        with stops_at_ctrl_c(self._duckdb), translated(self._errors):
            self._duckdb.execute("SET GLOBAL TimeZone = 'UTC'")
            self._calls = self._install(Supposed(store, index or store.index))

    def table(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return the rows of a query."""
        with (
            stops_at_ctrl_c(self._duckdb),
            translated(self._errors),
            self._guard.watching(lambda _: None),
        ):
            return self._duckdb.execute(query, list(parameters)).to_arrow_table()

    def _install(self, supposed: Supposed) -> list[Callable[..., Any]]:
        """Make functions, views and macros; return what DuckDB calls, which is to be kept."""
        store, guard = self._store, self._guard
        calls = functions.install(
            self._duckdb, registry.FUNCTIONS, lambda: supposed, store.dimension, self._errors,
            called=guard.called, postpone=guard.postpone,
        )  # fmt: skip
        create_function: Any = self._duckdb.create_function
        for name, function in ((writing.MARK, guard.bind), (writing.SITE, guard.site)):
            create_function(name, function, ["VARCHAR"], "VARCHAR", side_effects=False)
        for table in registry.TABLES:
            counts = (lambda: store.recalls) if table == MEMORIES else None
            reader = partial(store.dataset, table)
            self._duckdb.register(
                f"lance_{table}", LiveDataset(reader, counts, store.wall(table), self._errors.record)
            )
        by_source = store.trust.active and store.source_share < 1
        with guard.watching(lambda _: None):
            macros.create(self._duckdb, registry.sql_objects(store.config, by_source=by_source), None)
        return calls

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_duckdb(self._duckdb)
