"""Searching the lists of an inverted file for many queries at once: one matrix product per list."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import each_in_a_thread
from aios_db.search.vectors import Matrix

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
_LISTS_A_TASK = 32
_FEW_LISTS = 16
_PASS_WIDTH = 20


@dataclass(frozen=True)
class Contiguous:
    """Lists that lie one after the other: list ``i`` is documents ``offsets[i]:offsets[i + 1]``."""

    offsets: NDArray[np.int64]

    def documents(self, number: int) -> NDArray[np.int64]:
        """Return the documents in a list."""
        return np.arange(self.offsets[number], self.offsets[number + 1])

    def rows(self, number: int, matrix: Matrix) -> Matrix:
        """Return the rows of a matrix that are in a list, without a copy."""
        return matrix[self.offsets[number] : self.offsets[number + 1]]


@dataclass(frozen=True)
class Scattered:
    """Lists of documents in any order; ``lists`` says to which each belongs."""

    lists: NDArray[np.int32]

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.lists, kind="stable")
        offsets = np.zeros(int(self.lists.max(initial=-1)) + 2, np.int64)
        np.cumsum(np.bincount(self.lists), out=offsets[1:])
        return order, offsets

    def sort(self) -> None:
        """Make looking many lists up fast."""
        _ = self._sorted

    def documents(self, number: int) -> NDArray[np.int64]:
        """Return the documents in a list."""
        if "_sorted" not in self.__dict__:
            return np.flatnonzero(self.lists == number)
        order, offsets = self._sorted
        return order[offsets[number] : offsets[number + 1]] if number < len(offsets) - 1 else order[:0]

    def rows(self, number: int, matrix: Matrix) -> Matrix:
        """Return the rows of a matrix that are in a list."""
        return matrix[self.documents(number)]


Lists = Contiguous | Scattered


def best_in_lists(  # noqa: PLR0917
    queries: Matrix,
    probes: NDArray[np.int64],
    lists: Lists,
    matrix: Matrix,
    k: int,
    alive: NDArray[np.bool_] | None = None,
) -> Found:
    """Return the ``k`` best documents of each query in the lists it probes.

    Parameters
    ----------
    queries
        float32 ``(n, dimension)``.
    probes
        int64 ``(n, p)``: the lists that each query looks into.
    lists, matrix
        What the lists hold, and the vectors by document, float32 ``(documents, dimension)``.
    k
        Documents of each query.
    alive
        bool ``(documents,)``: which may be found; all when absent.

    Returns
    -------
    documents, scores
        int64 and float32 ``(n, k)``, best first, padded with -1 and -inf.
    """
    count, width = probes.shape
    order = np.argsort(probes.ravel(), kind="stable")
    numbers, starts = np.unique(probes.ravel()[order], return_index=True)
    stops = np.append(starts[1:], len(order))
    documents = np.full((count * width, k), -1, np.int64)
    scores = np.full((count * width, k), -np.inf, np.float32)
    if isinstance(lists, Scattered) and len(numbers) > _FEW_LISTS:
        lists.sort()

    def search(task: int) -> None:
        for at in range(task, min(task + _LISTS_A_TASK, len(numbers))):
            number = int(numbers[at])
            inside = lists.documents(number)
            if not len(inside):
                continue
            slots = order[starts[at] : stops[at]]
            found = queries[slots // width] @ lists.rows(number, matrix).T
            if alive is not None:
                found[:, ~alive[inside]] = -np.inf
            if len(inside) > k:
                best, scores[slots] = highest(found, k)
                documents[slots] = inside[best]
            else:
                documents[slots, : len(inside)], scores[slots, : len(inside)] = inside, found

    each_in_a_thread(search, range(0, len(numbers), _LISTS_A_TASK))
    return best_of(documents.reshape(count, -1), scores.reshape(count, -1), k)


def best_of(documents: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Found:
    """Return the ``k`` best in each row, best first, ties by document; -1 where there are less."""
    if scores.shape[1] > k:
        keep, scores = highest(scores, k)
        documents = np.take_along_axis(documents, keep, axis=1)
    order = np.lexsort((documents, -scores), axis=1)
    documents, scores = (
        np.take_along_axis(documents, order, axis=1),
        np.take_along_axis(scores, order, axis=1),
    )
    return np.where(np.isfinite(scores), documents, -1), scores


def highest(scores: NDArray[np.float32], k: int) -> Found:
    """Return places and values of the ``k`` highest in each row, in no order; ``scores`` may be overwritten.

    A pass for each of a few is faster than partitioning a long row.
    """
    width = scores.shape[1]
    if _PASS_WIDTH * k > width:
        at = np.argpartition(scores, width - k, axis=1)[:, width - k :]
        return at, np.take_along_axis(scores, at, axis=1)
    rows = np.arange(len(scores))
    places = np.empty((len(scores), k), np.int64)
    values = np.empty((len(scores), k), np.float32)
    for i in range(k):
        places[:, i] = scores.argmax(axis=1)
        values[:, i] = scores[rows, places[:, i]]
        scores[rows, places[:, i]] = -np.inf
    return places, values
