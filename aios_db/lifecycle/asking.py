"""A DuckDB of its own over a store, or over what a store would be: for queries that no connection makes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from aios_db.attachment import Attachment
from aios_db.closing import close_duckdb
from aios_db.duckdb_errors import translated

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
        supposed: Any = Supposed(store, index or store.index)
        self._attachment = Attachment(supposed)
        self._duckdb = duckdb.connect(config={"threads": 1})
        self._duckdb.execute("SET GLOBAL TimeZone = 'UTC'")
        store.refresh()
        self._attachment.install_functions(self._duckdb)
        self._attachment.install_objects(self._duckdb, partial(_current, store))

    def table(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return the rows of a query."""
        with translated(self._attachment.errors), self._attachment.guard.watching(lambda _: None):
            return self._duckdb.execute(query, list(parameters)).to_arrow_table()

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_duckdb(self._duckdb)


def _current(store: MemoryStore, table: str) -> Any:
    return store.dataset(table)
