"""Links that start at compressed memories, in few bytes on the disk: the same rows, apart from the others."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.lifecycle.compression.cold_tail import small_cold_rows
from aios_db.schema.memories import CODE_FIELD
from aios_db.store.cold import cold_fragments
from aios_db.store.commit import gather

_SOURCE = "source_id"


def pack_links(memories: lance.LanceDataset, links: lance.LanceDataset) -> lance.LanceDataset:
    """Move links that start at compressed memories into fragments of their own, in one commit.

    Parameters
    ----------
    memories, links
        The newest versions, under the write lock.

    Returns
    -------
    lance.LanceDataset
        The version of the links written; ``links`` itself where there was nothing to do.
    """
    rows = _to_pack(memories, links)
    moved = np.union1d(rows, small_cold_rows(links, len(rows)))
    return gather(links, moved, {}) if len(moved) else links


def _to_pack(memories: lance.LanceDataset, links: lance.LanceDataset) -> NDArray[np.int64]:
    """Return the rows of links that start at compressed memories and lie among others."""
    cold = {each.fragment_id for each in cold_fragments(links)}
    others = [each for each in links.get_fragments() if each.fragment_id not in cold]
    nothing = np.empty(0, np.int64)
    if not others:
        return nothing
    compressed = memories.to_table(columns=["memory_id"], filter=f"{CODE_FIELD.name} IS NOT NULL")
    if not len(compressed):
        return nothing
    names = compressed["memory_id"].combine_chunks()
    found = links.scanner(columns=[_SOURCE], fragments=others, with_row_id=True)
    rows = [
        batch["_rowid"].filter(pc.is_in(batch[_SOURCE], names)).to_numpy() for batch in found.to_batches()
    ]
    return np.concatenate([nothing, *rows]).astype(np.int64)
