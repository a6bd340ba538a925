"""How often memories were recalled, alone and together: totals in a log of their own beside the tables.

A row of `memories` is a text and a vector, and to write it anew for a count would cost a thousand times
what the count does. So a recall only adds to numbers in memory; a moment later they are appended to
``recalls.log``, some 20 bytes for each memory, and when the log has become twice as long as it was it is
rewritten as the totals of the memories that are there. Rows are shown with their counts added
(`with_counts`). Pairs become links from time to time, in one commit (`take_pairs`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.disk.framed_log import FramedLog
from aios_db.schema.memories import TIMESTAMP
from aios_db.search.keys import digests_of

COUNT, LAST = "access_count", "last_access_at"
Pair = tuple[bytes, bytes]
# Pairs grow with the square of this; the best matches are the ones that belong together.
_TOGETHER = 4
_LEAST_REWRITTEN = 1 << 15
_HEAD = np.dtype([("recalls", "<u4"), ("pairs", "<u4"), ("since", "<i8")])
_RECALL = np.dtype([("id", "S16"), ("times", "<u4"), ("at", "<i8")])
_PAIR = np.dtype([("first", "S16"), ("second", "S16"), ("times", "<u4")])


class Recalls:
    """The counts of one database; safe to use from many threads.

    Memories are named by the digests of their ids, see `digests_of`.

    Parameters
    ----------
    path
        The log.
    read_only
        Read it and never write.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._lock = threading.RLock()
        self._read_only = read_only
        self._log = FramedLog(path, self._begin, self._read)
        self._written: dict[bytes, tuple[int, int]] = {}
        self._pairs: Counter[Pair] = Counter()
        self._since = 0  # the oldest of the pairs, microseconds
        self._first = 0  # bytes of the first record: of all, when the log was rewritten last
        self._new: dict[bytes, tuple[int, int]] = {}
        self._new_pairs: Counter[Pair] = Counter()
        self.refresh()

    @property
    def unwritten(self) -> bool:
        """Whether anything was counted that the log does not have."""
        return bool(self._new or self._new_pairs)

    @property
    def pairs(self) -> int:
        """How many pairs wait to become links."""
        return len(self._pairs) + len(self._new_pairs)

    @property
    def waiting_s(self) -> float:
        """How long the oldest written pair has waited."""
        return time.time() - self._since / 1e6 if self._pairs else 0.0

    def add(self, memory_ids: Sequence[str], apart: Sequence[Sequence[str]] = ()) -> None:
        """Count one recall of these memories, best first.

        Of two that are both in one of the groups ``apart``, it says nothing.
        """
        distinct = digests_of(list(dict.fromkeys(memory_ids))).tolist()
        now = time.time_ns() // 1000
        with self._lock:
            for each in distinct:
                self._new[each] = self._new.get(each, (0, 0))[0] + 1, now
            pairs = combinations(sorted(distinct[:_TOGETHER]), 2)
            groups = [set(digests_of(list(each)).tolist()) for each in apart if each]
            self._new_pairs.update(
                pair for pair in pairs if not any(group.issuperset(pair) for group in groups)
            )

    def refresh(self) -> None:
        """Read what other processes have counted."""
        with self._lock:
            self._log.catch_up()

    def flush(self, living: Callable[[NDArray[np.bytes_]], NDArray[np.bool_]]) -> None:
        """Append what was counted here; rewrite the log, without memories that are gone, when it is long."""
        if self._read_only or not self.unwritten:
            return
        with self._lock, self._log.writing():
            content = _packed(self._new, self._new_pairs, self._since if self._pairs else _now())
            self._log.append(content)
            self._new, self._new_pairs = {}, Counter()
            is_long = self._log.size > max(2 * self._first, _LEAST_REWRITTEN)
        if is_long:
            self._rewrite(living)

    def take_pairs(self) -> Counter[Pair]:
        """Take all pairs out of the log and return them; whoever cannot write them gives them `back`."""
        with self._lock, self._log.writing():
            pairs = self._pairs + self._new_pairs
            if pairs:
                self._log.rewrite(_packed(self._written, Counter(), 0))
            self._new_pairs = Counter()
        return pairs

    def back(self, pairs: Counter[Pair]) -> None:
        """Take pairs in again that could not be written."""
        with self._lock:
            self._new_pairs.update(pairs)

    def counted(self) -> bool:
        """Whether any memory was recalled."""
        return bool(self._written or self._new)

    def with_counts(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows, which have their ``memory_id``, with their recalls in the count columns they have."""
        columns = [name for name in (COUNT, LAST) if name in rows.schema.names]
        if not columns or not len(rows) or not self.counted():
            return rows
        names = digests_of(rows["memory_id"]).tolist()
        with self._lock:
            found = [self._total(name) for name in names]
        times, at = np.array(found, np.int64).T
        if not times.any():
            return rows
        for name in columns:
            place = rows.schema.get_field_index(name)
            if name == COUNT:
                values = pc.add(rows[name], pa.array(times))
            else:
                counted = pa.array(at, mask=times == 0)
                values = pc.max_element_wise(rows[name].cast(pa.int64()), counted).cast(TIMESTAMP)
            rows = rows.set_column(place, rows.schema.field(place), values)
        return rows

    def _total(self, name: bytes) -> tuple[int, int]:
        written, new = self._written.get(name, (0, 0)), self._new.get(name, (0, 0))
        return written[0] + new[0], max(written[1], new[1])

    def _rewrite(self, living: Callable[[NDArray[np.bytes_]], NDArray[np.bool_]]) -> None:
        with self._lock:
            names = sorted({*self._written, *(each for pair in self._pairs for each in pair)})
        # The index is asked without the lock: whoever holds the index's asks for this one, for `with_counts`.
        alive = living(np.array(names, "S16")).tolist()
        gone = {name for name, is_there in zip(names, alive, strict=True) if not is_there}
        with self._lock, self._log.writing():
            for name in gone & self._written.keys():
                del self._written[name]
            self._pairs = Counter(
                {pair: times for pair, times in self._pairs.items() if gone.isdisjoint(pair)}
            )
            self._log.rewrite(_packed(self._written, self._pairs, self._since))

    def _begin(self) -> None:
        self._written, self._pairs, self._since, self._first = {}, Counter(), 0, 0

    def _read(self, content: bytes) -> None:
        self._first = self._first or len(content)
        head = np.frombuffer(content, _HEAD, 1)[0]
        recalls = np.frombuffer(content, _RECALL, int(head["recalls"]), _HEAD.itemsize)
        pairs = np.frombuffer(content, _PAIR, int(head["pairs"]), _HEAD.itemsize + recalls.nbytes)
        for name, times, at in recalls.tolist():
            before = self._written.get(name, (0, 0))
            self._written[name] = before[0] + times, max(before[1], at)
        if len(pairs) and not self._pairs:
            self._since = int(head["since"])
        for first, second, times in pairs.tolist():
            self._pairs[first, second] += times


def _packed(recalls: dict[bytes, tuple[int, int]], pairs: Counter[Pair], since: int) -> bytes:
    head = np.array([(len(recalls), len(pairs), since)], _HEAD)
    counted = np.array([(name, times, at) for name, (times, at) in recalls.items()], _RECALL)
    together = np.array([(*pair, times) for pair, times in pairs.items()], _PAIR)
    return head.tobytes() + counted.tobytes() + together.tobytes()


def _now() -> int:
    return time.time_ns() // 1000
