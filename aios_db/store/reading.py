"""Memories by their ids or names, whole, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema import association_links, consolidation_log, memories
from aios_db.schema.retrieval import RowIds
from aios_db.security.walls import LinksWall, MemoriesWall, ScopeWall
from aios_db.store.known import Stored
from aios_db.store.opened import OpenDatabase
from aios_db.store.snapshot import Level
from aios_db.store.stats import StoreStats, measure
from aios_db.store.strongest import strongest_links


class Reading:
    """What is read of an open database besides searches.

    Parameters
    ----------
    database
        What is read.
    """

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    def rows(self, memory_ids: Sequence[str]) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return which memories are there now, and all columns of those, in their order."""
        return self._database.read(lambda now: self._whole(now, now.index.find_ids(list(memory_ids))))

    def named(self, keys: Sequence[str]) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return the same of memories by their `schema.identity.external_key`."""

        def named(now: Level) -> tuple[NDArray[np.bool_], pa.Table]:
            return self._whole(now, Stored(now.memories, now.index).exactly(keys, [""] * len(keys)))

        return self._database.read(named)

    def existing(self, memory_ids: Sequence[str]) -> list[bool]:
        """Tell of each memory_id whether the newest version has such a memory."""
        now = self._database.refresh()
        found: list[bool] = (now.index.find_ids(list(memory_ids)) >= 0).tolist()
        return found

    def stats(self) -> StoreStats:
        """Count what the newest version holds."""
        database = self._database
        measured = database.read(lambda now: measure(database.path, now.memories, now.links))
        if not database.scope:
            return measured
        now = database.snapshot
        return replace(measured, memories=len(now.index), links=now.index.link_count)

    def wall(self, table: str) -> MemoriesWall | LinksWall | ScopeWall | None:
        """Return what a view of a table leaves out; None where it shows all."""
        database = self._database
        if not database.scope:
            return None
        if table == memories.TABLE:
            return self._memories_wall()
        if table == association_links.TABLE:
            return LinksWall(lambda: database.snapshot.index)
        return ScopeWall(database.scope) if table == consolidation_log.TABLE else None

    def _memories_wall(self) -> MemoriesWall:
        database = self._database
        return MemoriesWall(
            database.scope,
            lambda: database.snapshot.index,
            lambda names, seen: strongest_links(database.snapshot.links, names, seen),
        )

    def _whole(self, now: Level, rows: RowIds) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return which row ids are not -1, and all columns of those, as a reader sees them."""
        stored = now.memories._take_rows(rows[rows >= 0].tolist()).combine_chunks()
        counted = [self._database.recalls.with_counts(batch) for batch in stored.to_batches()]
        if self._database.scope:
            counted = list(map(self._memories_wall().visible, counted))
        return rows >= 0, pa.Table.from_batches(counted, stored.schema)
