"""Inverted lists: for each 64-bit key the documents that hold it, ascending, with a count.

`Postings` is immutable and lies in four arrays (compressed sparse rows) that can be mapped from files;
`GrowingPostings` takes new documents, one or many at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Docs = NDArray[np.int32]
Counts = NDArray[np.uint16]
_NONE = (np.empty(0, np.int32), np.empty(0, np.uint16))
_BULK = 16_384
_MOST = np.iinfo(np.uint16).max


class Postings:
    """Inverted lists in arrays.

    Parameters
    ----------
    keys
        uint64 ``(n,)``, ascending.
    offsets
        int64 ``(n + 1,)``: the list of ``keys[i]`` is ``docs[offsets[i]:offsets[i + 1]]``.
    docs
        int32, ascending within a list.
    counts
        uint16, parallel to ``docs``.
    """

    def __init__(
        self, keys: NDArray[np.uint64], offsets: NDArray[np.int64], docs: Docs, counts: Counts
    ) -> None:
        self.keys, self.offsets, self.docs, self.counts = keys, offsets, docs, counts

    @classmethod
    def empty(cls) -> Postings:
        """Return postings without keys."""
        return cls(np.empty(0, np.uint64), np.zeros(1, np.int64), *_NONE)

    @classmethod
    def build(cls, keys: NDArray[np.uint64], docs: Docs, counts: Counts) -> Postings:
        """Sort unordered (key, document, count) triples into lists."""
        distinct, rank = np.unique(keys, return_inverse=True)
        combined = (rank.astype(np.int64) << 32) | docs
        order = np.argsort(combined, kind="stable")
        offsets = np.zeros(len(distinct) + 1, np.int64)
        np.cumsum(np.bincount(rank, minlength=len(distinct)), out=offsets[1:])
        return cls(distinct, offsets, docs[order], counts[order])

    def find(self, key: int) -> int:
        """Return the position of a key, or -1."""
        at = int(self.keys.searchsorted(np.uint64(key)))
        return at if at < len(self.keys) and self.keys[at] == key else -1

    def length(self, key: int) -> int:
        """Return how many documents hold the key."""
        at = self.find(key)
        return 0 if at < 0 else int(self.offsets[at + 1] - self.offsets[at])

    def lengths(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return how many documents hold each key."""
        if len(self.keys) == 0:
            return np.zeros(len(keys), np.int64)
        at = np.minimum(self.keys.searchsorted(keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.offsets[at + 1] - self.offsets[at], 0)

    def get(self, key: int) -> tuple[Docs, Counts]:
        """Return the documents that hold the key, ascending, and their counts."""
        at = self.find(key)
        if at < 0:
            return _NONE
        span = slice(int(self.offsets[at]), int(self.offsets[at + 1]))
        return self.docs[span], self.counts[span]

    def triples(self) -> tuple[NDArray[np.uint64], Docs, Counts]:
        """Return what `build` takes."""
        return np.repeat(self.keys, np.diff(self.offsets)), self.docs, self.counts


@dataclass(frozen=True)
class Triples:
    """Unordered (key, document, count) triples, what inverted lists are built from."""

    keys: NDArray[np.uint64]
    docs: Docs
    counts: Counts

    def triples(self) -> tuple[NDArray[np.uint64], Docs, Counts]:
        """Return what `Postings.build` takes."""
        return self.keys, self.docs, self.counts


class GrowingPostings:
    """Inverted lists that take new documents; documents must come in ascending order.

    Many documents at once become `Postings` of their own, of which those of similar size are merged; single
    ones go to a dictionary of lists behind them, and so do these when they have become many: a key of the
    dictionary takes some 400 bytes, and most are in few documents.
    """

    def __init__(self) -> None:
        self._levels: list[Postings] = []
        self._lists: dict[int, tuple[array[int], array[int]]] = {}
        self._pairs = 0  # in the dictionary
        self._own: set[int] = set()  # keys of lists that no copy has

    def copy(self) -> GrowingPostings:
        """Return lists that may grow, while these stay as they are from now on."""
        copied = GrowingPostings()
        copied._levels, copied._lists, copied._pairs = list(self._levels), dict(self._lists), self._pairs
        return copied

    def add(self, document: int, counts: Mapping[int, int]) -> None:
        """Append a document to the list of each of its keys."""
        for key, count in counts.items():
            entry = self._entry(key)
            entry[0].append(document)
            entry[1].append(count if count < _MOST else _MOST)
        self._note(len(counts))

    def extend(self, keys: NDArray[np.uint64], docs: Docs) -> None:
        """Append new documents, given as a pair (key, document) for each occurrence."""
        distinct, rank = np.unique(keys, return_inverse=True)
        pairs, times = np.unique((rank.astype(np.int64) << 32) | docs, return_counts=True)
        offsets = np.searchsorted(pairs >> 32, np.arange(len(distinct) + 1))
        found = (pairs & 0xFFFFFFFF).astype(np.int32)
        counts = np.minimum(times, _MOST).astype(np.uint16)
        if len(pairs) >= _BULK:
            self._flush()
            self._append(Postings(distinct, offsets, found, counts))
            return
        starts = offsets.tolist()
        for key, start, stop in zip(distinct.tolist(), starts, starts[1:], strict=False):
            entry = self._entry(key)
            entry[0].frombytes(found[start:stop].tobytes())
            entry[1].frombytes(counts[start:stop].tobytes())
        self._note(len(pairs))

    def length(self, key: int) -> int:
        """Return how many documents hold the key."""
        entry = self._lists.get(key)
        return (len(entry[0]) if entry else 0) + sum(level.length(key) for level in self._levels)

    def lengths(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return how many documents hold each key."""
        return np.fromiter(map(self.length, keys.tolist()), np.int64, len(keys))

    def get(self, key: int) -> tuple[Docs, Counts]:
        """Return the documents that hold the key, ascending, and their counts, as copies."""
        found = [level.get(key) for level in self._levels]
        entry = self._lists.get(key)
        if entry is not None:
            found.append((np.array(entry[0], np.int32), np.array(entry[1], np.uint16)))
        found = [each for each in found if len(each[0])]
        if len(found) < 2:
            return found[0] if found else _NONE
        documents, counts = _joined(found)
        return documents, counts

    def triples(self) -> tuple[NDArray[np.uint64], Docs, Counts]:
        """Return what `Postings.build` takes."""
        lengths = np.fromiter((len(docs) for docs, _ in self._lists.values()), np.int64, len(self._lists))
        keys = np.repeat(np.fromiter(self._lists, np.uint64, len(self._lists)), lengths)
        docs = array("i")
        counts = array("H")
        for entry in self._lists.values():
            docs.extend(entry[0])
            counts.extend(entry[1])
        single = keys, np.array(docs, np.int32), np.array(counts, np.uint16)
        keys, documents, times = _joined([*(level.triples() for level in self._levels), single])
        return keys, documents, times

    def _entry(self, key: int) -> tuple[array[int], array[int]]:
        """Return the list of a key, which may be appended to."""
        entry = self._lists.get(key)
        if entry is None or key not in self._own:
            docs, counts = entry or ((), ())
            entry = self._lists[key] = array("i", docs), array("H", counts)
            self._own.add(key)
        return entry

    def _note(self, more: int) -> None:
        self._pairs += more
        if self._pairs >= _BULK:
            self._flush()

    def _flush(self) -> None:
        """Make a level of the dictionary, whose documents come before those of the next level."""
        self._pairs = 0
        if self._lists:
            levels, self._levels = self._levels, []
            triples, self._lists, self._own = self.triples(), {}, set()
            self._levels = levels
            self._append(Postings.build(*triples))

    def _append(self, level: Postings) -> None:
        self._levels.append(level)
        while len(self._levels) > 1 and len(self._levels[-2].docs) < 2 * len(self._levels[-1].docs):
            merged = Postings.build(*_joined([each.triples() for each in self._levels[-2:]]))
            self._levels[-2:] = [merged]


def _joined(columns: Sequence[tuple[NDArray[Any], ...]]) -> list[NDArray[Any]]:
    """Return the columns of all, one after the other."""
    return [np.concatenate(column) for column in zip(*columns, strict=True)]
