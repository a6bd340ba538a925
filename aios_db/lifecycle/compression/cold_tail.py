"""What is compressed already and is written anew together with what comes: by tiers, as in a compaction."""

from __future__ import annotations

import lance
import numpy as np
from lance.fragment import LanceFragment
from numpy.typing import NDArray

from aios_db.store.cold import cold_fragments, rows_of
from aios_db.store.compaction import mergeable
from aios_db.store.dense import is_dense

_DELETED = 10  # a fragment is written anew when one in so many rows is deleted


def small_cold_rows(dataset: lance.LanceDataset, new: int) -> NDArray[np.int64]:
    """Return the rows of cold fragments that are to be one with ``new`` rows."""
    cold = cold_fragments(dataset)
    sizes = [each.count_rows() for each in cold]
    start = mergeable([*sizes, new] if new else sizes)
    merged = [each for place, each in enumerate(cold) if place >= start or _is_worn(each)]
    if len(merged) + bool(new) < 2 and not any(each.num_deletions or not is_dense(each) for each in merged):
        return np.empty(0, np.int64)
    return rows_of(merged)


def _is_worn(fragment: LanceFragment) -> bool:
    """Tell whether a fragment takes more bytes than it has to."""
    deleted = fragment.num_deletions * _DELETED > fragment.metadata.physical_rows
    return deleted or not is_dense(fragment)
