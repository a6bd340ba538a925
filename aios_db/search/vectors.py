"""Nearest vectors by inner product: exact, or over the nearest clusters of an inverted file (IVF-flat).

The rows of an IVF matrix lie cluster by cluster, so that a cluster is one contiguous slice of a mapped file
and scoring it is one matrix-vector product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.schema.directions import directions, why_not
from aios_db.schema.errors import DataError

Matrix = NDArray[np.float32]
_BLOCK = 4096
_FEWEST_LISTS = 4
_MOST_WAITING = 64


@dataclass(frozen=True)
class Clusters:
    """The coarse quantizer of an inverted file (Jégou et al., 2011).

    Attributes
    ----------
    centroids
        float32 ``(lists, dimension)``.
    offsets
        int64 ``(lists + 1,)``: list ``i`` is rows ``offsets[i]:offsets[i + 1]``.
    reach
        Lists are searched whose centroid's product with the query is at least this share of the greatest
        one: few for a query amid one list, many for one between lists. Chosen when the file was built, by
        measured recall.
    """

    centroids: Matrix
    offsets: NDArray[np.int64]
    reach: float

    def nearest_rows(
        self,
        vector: NDArray[np.float32],
        least: int,
        widening: float = 1.0,
        allowed: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int64]:
        """Return the rows to search, int64 ``(lists, 2)``: first row and end of each list, ascending.

        Parameters
        ----------
        vector
            float32 ``(dimension,)``.
        least
            Search lists of this many rows together, or more.
        widening
            Search as many times more lists.
        allowed
            bool ``(rows,)``: which may be found. Lists without any count as not there, so that they do not
            keep others from being searched.
        """
        scores = self.centroids @ vector
        known = np.arange(len(scores))
        if allowed is not None:
            before = np.concatenate([[0], np.cumsum(allowed)])
            known = np.flatnonzero(np.diff(before[self.offsets]))
            scores = scores[known]
        within_reach = int(np.count_nonzero(scores >= self.reach * scores.max(initial=-1)))
        rows_a_list = max(int(self.offsets[-1]), 1) / len(self.centroids)
        fewest = max(_FEWEST_LISTS, math.ceil(least / rows_a_list))
        count = min(int(widening * max(within_reach, fewest)), len(scores))
        lists = np.sort(known[np.argpartition(scores, len(scores) - count)[len(scores) - count :]])
        return np.stack([self.offsets[lists], self.offsets[lists + 1]], axis=1)


class Statistics:
    """Sum and second moment of a changing set of vectors.

    They give the mean and the standard deviation of the inner product with any query over the whole set in
    closed form, ``q . mu`` and ``q' Sigma q``, so that a score can be standardised without scoring every
    memory. Zeros, which stand for no vector, are not counted: among many pictures without words any text
    would be far above the mean. Vectors that come or go singly wait beside the sums, which are as large as
    hundreds of them.

    Parameters
    ----------
    total, outer
        float64 ``(dimension,)`` and ``(dimension, dimension)``; they are not changed.
    count
        How many vectors there are.
    """

    def __init__(self, total: NDArray[np.float64], outer: NDArray[np.float64], count: int) -> None:
        self._total, self._outer, self.count = total, outer, count
        self._waiting = np.empty((0, len(total)), np.float32)
        self._signs = np.empty(0)

    @classmethod
    def empty(cls, dimension: int) -> Statistics:
        """Return the statistics of no vectors."""
        return cls(np.zeros(dimension), np.zeros((dimension, dimension)), 0)

    @property
    def total(self) -> NDArray[np.float64]:
        """The sum of all."""
        return self._total + self._signs @ self._waiting

    @property
    def outer(self) -> NDArray[np.float64]:
        """The sum of the outer products of each with itself."""
        waiting = self._waiting.astype(np.float64)
        with single_threaded():
            return self._outer + (waiting.T * self._signs) @ waiting

    def add(self, vectors: Matrix, sign: int = 1) -> None:
        """Add vectors, or take them away with ``sign`` -1."""
        vectors = vectors[vectors.any(axis=1)]
        self.count += sign * len(vectors)
        if self.count == 0:  # but for what rounding has left
            self._set(np.zeros_like(self._total), np.zeros_like(self._outer))
            return
        if len(vectors) + len(self._waiting) <= _MOST_WAITING:
            self._waiting = np.concatenate([self._waiting, vectors])
            self._signs = np.concatenate([self._signs, np.full(len(vectors), float(sign))])
            return
        total, outer = self.total, self.outer
        for start in range(0, len(vectors), _BLOCK):
            rows = vectors[start : start + _BLOCK].astype(np.float64)
            total += sign * rows.sum(axis=0)
            with single_threaded():
                outer += sign * (rows.T @ rows)
        self._set(total, outer)

    def copy(self) -> Statistics:
        """Return statistics that later changes to these do not change."""
        copied = Statistics(self._total, self._outer, self.count)
        copied._waiting, copied._signs = self._waiting, self._signs
        return copied

    def take_away(self, other: Statistics) -> None:
        """Take away a set of vectors that these are part of."""
        self.count -= other.count
        self._set(self.total - other.total, self.outer - other.outer)

    def moments(self, vector: NDArray[np.float32]) -> tuple[float, float]:
        """Return mean and standard deviation of the inner product with ``vector``."""
        if self.count == 0:
            return 0.0, 1.0
        query = vector.astype(np.float64)
        waiting = self._waiting @ query
        mean = float(query @ self._total + self._signs @ waiting) / self.count
        square = float(query @ self._outer @ query + self._signs @ waiting**2)
        variance = square / self.count - mean**2
        return mean, float(np.sqrt(variance)) if variance > 1e-12 else 1.0

    def _set(self, total: NDArray[np.float64], outer: NDArray[np.float64]) -> None:
        self._total, self._outer = total, outer
        self._waiting, self._signs = self._waiting[:0], self._signs[:0]


def checked_query(vector: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Return a query of unit length as float32, zeros for zeros.

    Raises
    ------
    DataError
        It is not ``dimension`` finite numbers.
    """
    vector = np.asarray(vector)
    if vector.shape != (dimension,):
        size = "x".join(map(str, vector.shape))
        raise DataError(
            f"query vector has {size} numbers, the memories have {dimension}: embed it with embed()"
        )
    unit, has_direction = directions(vector[np.newaxis])
    if not has_direction[0] and vector.any():
        raise DataError(f"query vector {why_not(vector)}")
    query: NDArray[np.float32] = unit[0]
    return query
