"""What a moment can wait: recall counts, reinforced links and the derived link column, written in batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import combinations

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import TIMESTAMP
from aios_db.search.index import SearchIndex
from aios_db.store.commit import commit
from aios_db.store.links import reinforce
from aios_db.store.strongest import write_strongest

# Pairs grow with the square of this; the best matches are the ones that belong together.
_TOGETHER = 4


@dataclass
class Work:
    """Changes to be written together."""

    recalls: Counter[str] = field(default_factory=Counter)
    """How often each memory id was recalled."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often two memory ids, the smaller first, were recalled together."""
    relinked: set[str] = field(default_factory=set)
    """Memory ids whose outgoing links changed."""


class Pending:
    """Collects work from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work = Work()

    def __bool__(self) -> bool:
        return bool(self._work.recalls or self._work.relinked)

    def recalled(self, memory_ids: Sequence[str]) -> None:
        """Count one recall of these memories, best first."""
        distinct = list(dict.fromkeys(memory_ids))
        with self._lock:
            self._work.recalls.update(distinct)
            self._work.pairs.update(combinations(sorted(distinct[:_TOGETHER]), 2))

    def relinked(self, memory_ids: Iterable[str]) -> None:
        """Note that links of these memories changed."""
        with self._lock:
            self._work.relinked.update(memory_ids)

    def drain(self) -> Work:
        """Return what was collected and begin anew."""
        with self._lock:
            work, self._work = self._work, Work()
        return work

    def restore(self, work: Work) -> None:
        """Put back what could not be written."""
        with self._lock:
            self._work.recalls.update(work.recalls)
            self._work.pairs.update(work.pairs)
            self._work.relinked |= work.relinked


def write_pending(
    memories: lance.LanceDataset, links: lance.LanceDataset, index: SearchIndex, work: Work
) -> tuple[lance.LanceDataset, lance.LanceDataset]:
    """Write ``work`` in a commit or two a table and return the versions written.

    Memories forgotten in the meantime are left out. The datasets are the newest, under the write lock, and
    ``index`` is level with them.
    """
    concerned = sorted({*work.recalls, *work.relinked})
    found = index.find_ids(concerned).tolist()
    row_of = {each: row for each, row in zip(concerned, found, strict=True) if row >= 0}

    recalled = [each for each in work.recalls if each in row_of]
    if recalled:
        row_ids = np.array([row_of[each] for each in recalled], np.int64)
        stored = memories._take_rows(row_ids.tolist(), columns=["access_count", "last_access_at"])
        times = np.array([work.recalls[each] for each in recalled], np.int64)
        memories = commit(memories, None, row_ids, count_accesses(stored, times))
    pairs = {pair: times for pair, times in work.pairs.items() if row_of.keys() >= set(pair)}
    links = reinforce(links, pairs) if pairs else links
    relinked = row_of.keys() & {*work.relinked, *(each for pair in pairs for each in pair)}
    memories = write_strongest(memories, links, np.array(sorted(row_of[each] for each in relinked), np.int64))
    return memories, links


def count_accesses(stored: pa.Table, times: NDArray[np.int64]) -> dict[str, pa.Array]:
    """Return the new ``access_count`` and ``last_access_at`` of rows that were accessed so many times now."""
    now = pa.scalar(datetime.now(timezone.utc), TIMESTAMP)
    return {
        "access_count": pc.add(stored["access_count"], pa.array(times)),
        "last_access_at": pc.if_else(pa.array(times > 0), now, stored["last_access_at"]),
    }
