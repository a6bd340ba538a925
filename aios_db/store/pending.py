"""What a moment can wait: reinforced links and the derived link column, written in batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import TIMESTAMP
from aios_db.search.index import SearchIndex
from aios_db.store.links import reinforce
from aios_db.store.recalls import Pair
from aios_db.store.strongest import write_strongest


class Pending:
    """Collects from many threads the memories of which outgoing links changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._relinked: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._relinked)

    def relinked(self, memory_ids: Iterable[str]) -> None:
        """Note that links of these memories changed."""
        with self._lock:
            self._relinked.update(memory_ids)

    def drain(self) -> set[str]:
        """Return what was collected and begin anew."""
        with self._lock:
            relinked, self._relinked = self._relinked, set()
        return relinked


def write_column(
    memories: lance.LanceDataset, links: lance.LanceDataset, index: SearchIndex, relinked: Iterable[str]
) -> lance.LanceDataset:
    """Bring the link column of some memories up to date and return the version written.

    Memories forgotten in the meantime are left out. The datasets are the newest, under the write lock, and
    ``index`` is level with them.
    """
    names = pa.array(sorted(relinked), pa.string())
    rows = index.find_ids(names)
    if index.scope:  # it does not know them all
        found = memories.to_table(columns=[], filter=pc.field("memory_id").isin(names), with_row_id=True)
        rows = found["_rowid"].to_numpy().astype(np.int64)
    return write_strongest(memories, links, np.unique(rows[rows >= 0]))


def write_pairs(
    links: lance.LanceDataset, index: SearchIndex, pairs: Counter[Pair]
) -> tuple[lance.LanceDataset, set[str]]:
    """Reinforce the links of memories that were recalled together, in one commit.

    Returns
    -------
    tuple of lance.LanceDataset and set of str
        The version written, and the memories of which outgoing links may have changed.
    """
    digests = np.array(sorted({each for pair in pairs for each in pair}), "S16")
    rows = index.find_digests(digests)
    known = rows >= 0
    user_of = dict(zip(digests[known].tolist(), index.users(rows[known]).tolist(), strict=True))
    names = dict(zip(digests[known].tolist(), index.memory_ids(rows[known]).to_pylist(), strict=True))
    together: Counter[tuple[str, str]] = Counter()
    for (first, second), times in pairs.items():
        if first in names and second in names and _may_link(user_of[first], user_of[second]):
            one, other = sorted((names[first], names[second]))
            together[one, other] += times
    if not together:
        return links, set()
    return reinforce(links, together), {each for pair in together for each in pair}


def _may_link(*users: int) -> bool:
    return len({user for user in users if user}) <= 1


def count_accesses(stored: pa.Table, times: NDArray[np.int64]) -> dict[str, pa.Array]:
    """Return the new ``access_count`` and ``last_access_at`` of rows that were accessed so many times now."""
    now = pa.scalar(datetime.now(timezone.utc), TIMESTAMP)
    return {
        "access_count": pc.add(stored["access_count"], pa.array(times)),
        "last_access_at": pc.if_else(pa.array(times > 0), now, stored["last_access_at"]),
    }
