"""The versions of the tables that the statements of a cursor read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aios_db.schema import association_links, memories

if TYPE_CHECKING:
    import lance

    from aios_db.memory_store import MemoryStore
    from aios_db.session import Session


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

    def sound(self) -> list[lance.LanceDataset]:
        """Return those that were asked for and can be read."""
        return [each for table, each in self._pinned.items() if table not in self._store.damaged]


class SeenTables:
    """What a cursor's SQL sees of the tables: each statement the versions that are the newest as it begins.

    Parameters
    ----------
    session
        What the cursor is of.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.see_newest()

    def see_newest(self) -> None:
        """Move to the newest versions."""
        self._now = self._session.newest_tables()

    def table(self, name: str) -> Any:
        """Return the dataset of a table, for as long as the connection is open."""
        self._session.check_open()
        return self._now[name]

    def sound(self) -> list[lance.LanceDataset]:
        """Return the tables that a statement has asked for and can be read."""
        return self._now.sound()
