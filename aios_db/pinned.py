"""The versions of the tables that one statement reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aios_db.schema import association_links, memories

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore


class PinnedTables:
    """The newest version of each table, which stays the same however often it is asked for.

    Memories and links are level with each other. A table beside them is looked at when it is first asked for:
    most statements read none.

    Parameters
    ----------
    store
        At the version to read.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._pinned = {table: store.dataset(table) for table in (memories.TABLE, association_links.TABLE)}

    def __getitem__(self, table: str) -> Any:
        """Return the dataset of a table."""
        if table not in self._pinned:
            self._pinned[table] = self._store.dataset(table)
        return self._pinned[table]
