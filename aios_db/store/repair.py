"""Mend what a crash between two commits can leave: links without an end, and what is derived from links."""

from __future__ import annotations

from dataclasses import dataclass

import lance
import numpy as np
import pyarrow.compute as pc

from aios_db.store.commit import delete
from aios_db.store.strongest import LINK, write_outdated


@dataclass(frozen=True)
class RepairReport:
    """What `MemoryStore.repair` mended."""

    dangling_links: int
    """Links removed because the memory at an end is missing."""
    repeated_links: int
    """Links removed because another has the same ends and kind."""
    link_columns: int
    """Memories whose ``association_links`` column said something else than the link table."""
    missing_links: int = 0
    """Links made for memories whose writer was stopped before it had linked them."""


def repair(
    memories: lance.LanceDataset, links: lance.LanceDataset
) -> tuple[lance.LanceDataset, lance.LanceDataset, RepairReport]:
    """Remove dangling and repeated links and rebuild the link column; return the versions written.

    Both tables' keys are read whole; the datasets are the newest, under the write lock.
    """
    ids = memories.to_table(columns=["memory_id"])["memory_id"].combine_chunks()
    found = links.to_table(columns=LINK, with_row_id=True)
    whole = pc.and_(pc.is_in(found["source_id"], ids), pc.is_in(found["target_id"], ids))
    dangling = found.filter(pc.invert(whole))["_rowid"].to_numpy()
    found = found.filter(whole)
    first = found.group_by(LINK[:3]).aggregate([("_rowid", "min")])["_rowid_min"]
    repeated = found.filter(pc.invert(pc.is_in(found["_rowid"], first)))["_rowid"].to_numpy()
    links = delete(links, np.concatenate([dangling, repeated]).astype(np.int64))

    memories, columns = write_outdated(memories, found.filter(pc.is_in(found["_rowid"], first)))
    return memories, links, RepairReport(len(dangling), len(repeated), columns)
