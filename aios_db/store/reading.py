"""The part of `MemoryStore` that reads rows by their ids or names, and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema import association_links, consolidation_log, memories
from aios_db.schema.retrieval import RowIds
from aios_db.security.walls import LinksWall, MemoriesWall, ScopeWall
from aios_db.store.failures import operational
from aios_db.store.known import Stored
from aios_db.store.opened import OpenDatabase
from aios_db.store.stats import StoreStats, measure


class Reading(OpenDatabase):
    """Memories by id, whole."""

    def rows(self, memory_ids: Sequence[str]) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return which memories are there now, and all columns of those, in their order."""
        self.refresh()
        return self._whole(self.index.find_ids(list(memory_ids)))

    def named(self, keys: Sequence[str]) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return the same of memories by their `schema.identity.external_key`."""
        self.refresh()
        return self._whole(Stored(self.memories, self.index).exactly(keys, [""] * len(keys)))

    def existing(self, memory_ids: Sequence[str]) -> list[bool]:
        """Tell of each memory_id whether the newest version has such a memory."""
        self.refresh()
        found: list[bool] = (self.index.find_ids(list(memory_ids)) >= 0).tolist()
        return found

    def stats(self) -> StoreStats:
        """Count what the current snapshot holds."""
        self._check_open()
        with operational(f"reading {self.path}"):
            measured = measure(self.path, self.memories, self.links)
        if not self.scope:
            return measured
        return replace(measured, memories=len(self.index), links=self.index.link_count)

    def wall(self, table: str) -> MemoriesWall | LinksWall | ScopeWall | None:
        """Return what a view of a table leaves out; None where it shows all."""
        if not self.scope:
            return None
        if table == memories.TABLE:
            return MemoriesWall(self.scope, lambda: self.index)
        if table == association_links.TABLE:
            return LinksWall(lambda: self.index)
        return ScopeWall(self.scope) if table == consolidation_log.TABLE else None

    def _whole(self, rows: RowIds) -> tuple[NDArray[np.bool_], pa.Table]:
        """Return which row ids are not -1, and all columns of those, as a reader sees them."""
        stored = self.memories._take_rows(rows[rows >= 0].tolist()).combine_chunks()
        counted = [self.recalls.with_counts(batch) for batch in stored.to_batches()]
        return rows >= 0, pa.Table.from_batches(counted, stored.schema)
