"""What a moment can wait: reinforced links and the derived link column, written in batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import TIMESTAMP
from aios_db.search.index import SearchIndex
from aios_db.store.links import reinforce
from aios_db.store.recalls import Pair
from aios_db.store.strongest import LINK, write_outdated, write_strongest
from aios_db.store.unshown import SEVERAL, Unshown, UnshownFile


class Pending:
    """Collects from many threads the memories of which outgoing links changed.

    Parameters
    ----------
    directory
        The database; a file in it tells other processes that something is collected here.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        self._relinked: set[str] = set()
        self._name = uuid4().hex
        self._began = self._unforced = False
        self._unshown = UnshownFile(directory)

    def __bool__(self) -> bool:
        return self._began or bool(self._relinked)

    @property
    def is_owed(self) -> bool:
        """Whether the column of some memories is to be written, by whatever process."""
        return bool(self) or self._unshown.read() is not None

    def begin(self, version: int) -> None:
        """Note, under the write lock, that links may change from this version of theirs on."""
        said = self._unshown.read()
        if said is None and self._began:  # another process has written the column, for this one, too
            with self._lock:
                self._relinked = set()
        self._began = True
        if said is None or said.writer not in (self._name, SEVERAL):
            self._unshown.write(Unshown(said.since) if said else Unshown(version, self._name))
            self._unforced = True

    def force(self) -> None:
        """Return when it is on the disk that links may change."""
        if self._unforced:
            self._unshown.force()
            self._unforced = False

    def relinked(self, memory_ids: Iterable[str]) -> None:
        """Note that links of these memories changed."""
        with self._lock:
            self._relinked.update(memory_ids)

    def unpacked(self, memory_ids: Sequence[str]) -> None:
        """Note that memories are no longer compressed, and get the column back; under the write lock."""
        self.relinked(memory_ids)
        said = self._unshown.read()
        if memory_ids and said is not None:
            self._unshown.write(replace(said, since=0))

    def take(self, links: lance.LanceDataset) -> set[str] | None:
        """Return whose column is to be written, and begin anew; None where that may be any.

        The caller holds the write lock, writes it, and calls `shown` then, or `back` where it fails.
        """
        said = self._unshown.read()
        with self._lock:
            relinked, self._relinked = self._relinked, set()
        if said is None:
            return set() if self._began else relinked
        if said.writer == self._name:
            return relinked
        others = said.memory_ids(links)
        return None if others is None else others | relinked

    def shown(self) -> None:
        """Note that the column shows all links there are; under the write lock."""
        self._began = False
        if self._unshown.read() is not None:
            self._unshown.write(None)

    def back(self, memory_ids: set[str] | None) -> None:
        """Take in again what could not be written."""
        self.relinked(memory_ids or ())


def write_column(
    memories: lance.LanceDataset,
    links: lance.LanceDataset,
    index: SearchIndex,
    relinked: Collection[str] | None,
) -> lance.LanceDataset:
    """Bring the link column of some memories up to date, with None of any; return the version written.

    Memories forgotten in the meantime are left out. The datasets are the newest, under the write lock, and
    ``index`` is level with them.
    """
    if relinked is None:
        return write_outdated(memories, links.to_table(columns=LINK))[0]
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
