"""Mend what a crash between two commits can leave: links without an end, and what is derived from links."""

from __future__ import annotations

from dataclasses import dataclass

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import CODE_FIELD
from aios_db.store.commit import commit, delete
from aios_db.store.strongest import COLUMN, group

_LINK = ["source_id", "target_id", "kind", "weight"]


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
    stored = memories.to_table(columns=["memory_id", COLUMN, CODE_FIELD.name], with_row_id=True)
    ids = stored["memory_id"].combine_chunks()
    found = links.to_table(columns=_LINK, with_row_id=True)
    whole = pc.and_(pc.is_in(found["source_id"], ids), pc.is_in(found["target_id"], ids))
    dangling = found.filter(pc.invert(whole))["_rowid"].to_numpy()
    found = found.filter(whole)
    first = found.group_by(_LINK[:3]).aggregate([("_rowid", "min")])["_rowid_min"]
    repeated = found.filter(pc.invert(pc.is_in(found["_rowid"], first)))["_rowid"].to_numpy()
    links = delete(links, np.concatenate([dangling, repeated]).astype(np.int64))

    column = group(found.filter(pc.is_in(found["_rowid"], first)), ids)
    differs = _differing(stored[COLUMN].combine_chunks(), column)
    differs &= stored[CODE_FIELD.name].is_null().to_numpy()  # compressed ones do without
    row_ids = stored["_rowid"].to_numpy()[differs].astype(np.int64)
    memories = commit(memories, None, row_ids, {COLUMN: column.filter(pa.array(differs))})
    return memories, links, RepairReport(len(dangling), len(repeated), len(row_ids))


def _differing(was: pa.ListArray, now: pa.ListArray) -> NDArray[np.bool_]:
    """Tell which lists of links are not the same."""
    lengths = [pc.fill_null(pc.list_value_length(each), -1).to_numpy() for each in (was, now)]
    differs: NDArray[np.bool_] = lengths[0] != lengths[1]
    alike = np.flatnonzero(~differs)
    one, other = (each.take(pa.array(alike)) for each in (was, now))
    parents = pc.list_parent_indices(one).to_numpy()
    for left, right in zip(one.flatten().flatten(), other.flatten().flatten(), strict=True):
        unequal = pc.coalesce(pc.not_equal(left, right), pc.not_equal(left.is_null(), right.is_null()))
        differs[alike[parents[unequal.to_numpy(zero_copy_only=False)]]] = True
    return differs
