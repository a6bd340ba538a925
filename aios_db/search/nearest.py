"""Nearest neighbours of a query in one part of the index, and of many vectors at once in all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search import kernels
from aios_db.search.centroids import Centroids, spherical_k_means
from aios_db.search.lists import Contiguous, Lists, Scattered, best_in_lists, best_of
from aios_db.search.part import Part
from aios_db.search.ranking import best
from aios_db.search.vectors import Matrix

_EXACT_ROWS = 20_000  # fewer rows that pass a filter are all scored
_MOST_WIDENING = 8
_ROWS_A_RESULT = 10  # to score, at least
_BLOCK = 2048
_PROBES = 4  # lists in which the neighbours of one of many vectors are looked for
_FEW_ROWS = 2048
_MANY_PAIRS = 1 << 24  # of vectors to compare, from which on making lists takes less time
_ROWS_IN_LIST, _SAMPLE, _ROUNDS = 128, 32, 3
Found = tuple[RowIds, NDArray[np.float32]]


def search(
    part: Part, vector: NDArray[np.float32], k: int, where: Filter | None, *, exact: bool = False
) -> Found:
    """Return row ids and inner products of the ``k`` nearest memories of a part that pass the filter."""
    mask = part.matching(where)
    matches = int(np.count_nonzero(mask))
    if matches == 0 or k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    few = matches <= _EXACT_ROWS and matches < len(part)
    clusters = part.clusters
    if few and (clusters is None or where):
        documents = np.flatnonzero(mask)
        return best(part.rows[documents], kernels.vectors.products(part.vectors, documents, vector), k)
    allowed = None if matches == len(part) else mask
    if clusters is None or exact or k > _EXACT_ROWS:
        spans = np.array([[0, len(part)]])
    else:
        widening = min(len(part) / matches, _MOST_WIDENING)
        spans = clusters.nearest_rows(vector, _ROWS_A_RESULT * k, widening, allowed)
    return kernels.vectors.nearest(part.vectors, part.rows, allowed, spans, vector, k)


class Neighbors:
    """The nearest neighbours of many vectors, in a segment and the tail behind it.

    Vectors are looked for in the lists whose centroids are nearest, whether the segment has lists or not: in
    bulk it pays to make some for the occasion.

    Parameters
    ----------
    segment
        Whose lists are used if it has any.
    """

    def __init__(self, segment: Part) -> None:
        self._segment = segment
        self._centroids = Centroids(segment.clusters.centroids) if segment.clusters else None
        self._lists: dict[type[Part], NDArray[np.int32]] = {}

    def find(
        self,
        parts: Sequence[Part],
        vectors: Matrix,
        k: int,
        among: Callable[[Part], NDArray[np.bool_]] | None = None,
    ) -> Found:
        """Return the row ids and cosines of the ``k`` nearest memories of each vector.

        Parameters
        ----------
        parts
            The segment and its tail.
        vectors
            float32 ``(n, dimension)``.
        among
            Tells which of a part's memories count; by default all.

        Returns
        -------
        row_ids, cosines
            int64 and float32 ``(n, k)``, best first, padded with -1 and -inf.
        """
        parts = [part for part in parts if len(part)]
        listed = [self._listed(part, len(vectors)) for part in parts]
        probes = np.empty((len(vectors), 0), np.int64)
        if self._centroids is not None and any(listed):
            probes = self._centroids.nearest(vectors, min(_PROBES, len(self._centroids.vectors)))
        found = [
            self._in_its_lists(part, vectors, probes, k, _kept(part, among))
            if lists
            else _in_all(part, vectors, k, _kept(part, among))
            for part, lists in zip(parts, listed, strict=True)
        ]
        rows = np.concatenate([np.full((len(vectors), k), -1), *(rows for rows, _ in found)], axis=1)
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        return best_of(rows, np.concatenate([scores, *(scores for _, scores in found)], axis=1), k)

    def _listed(self, part: Part, count: int) -> bool:
        """Tell whether to look ``count`` vectors up in lists, which are made now if so many are worth it."""
        if part.clusters is not None:
            return True
        matrix = part.vectors
        if self._centroids is None and count * len(matrix) > _MANY_PAIRS:
            number = len(matrix) // _ROWS_IN_LIST
            random = np.random.default_rng(len(matrix))
            drawn = random.choice(len(matrix), min(_SAMPLE * number, len(matrix)), replace=False)
            self._centroids = Centroids(spherical_k_means(matrix[np.sort(drawn)], number, random, _ROUNDS))
        return self._centroids is not None and len(matrix) > _FEW_ROWS

    def _in_its_lists(
        self,
        part: Part,
        vectors: Matrix,
        probes: NDArray[np.int64],
        k: int,
        kept: NDArray[np.bool_] | None,
    ) -> Found:
        matrix = part.vectors
        if part.clusters is not None:
            lists: Lists = Contiguous(part.clusters.offsets)
        else:
            lists = Scattered(self._assigned(part, matrix, vectors, probes))
        documents, scores = best_in_lists(vectors, probes, lists, matrix, k, kept)
        return np.where(documents >= 0, part.rows[documents], -1), scores

    def _assigned(
        self, part: Part, matrix: Matrix, vectors: Matrix, probes: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Return the list of each row of a part that has none, and remember it: such parts only grow.

        What is looked for are mostly the rows that were just added, so that their lists are known.
        """
        assert self._centroids is not None
        known = self._lists.get(type(part), np.empty(0, np.int32))
        new = matrix[len(known) :]
        same = len(new) == len(vectors) and np.array_equal(new, vectors)
        found = probes[:, 0] if same else self._centroids.nearest(new, 1)[:, 0]
        lists = self._lists[type(part)] = np.concatenate([known, found.astype(np.int32)])[: len(matrix)]
        return lists


def _in_all(part: Part, vectors: Matrix, k: int, kept: NDArray[np.bool_] | None) -> Found:
    """Return the nearest by comparing with every row."""
    matrix = part.vectors
    if len(vectors) == 1:  # a single write: one pass over the matrix
        rows, scores = np.full((1, k), -1), np.full((1, k), -np.inf, np.float32)
        found = kernels.vectors.nearest(matrix, part.rows, kept, np.array([[0, len(matrix)]]), vectors[0], k)
        rows[0, : len(found[0])], scores[0, : len(found[1])] = found
        return rows, scores
    everything = Contiguous(np.append(np.arange(0, len(matrix), _BLOCK), len(matrix)))
    probes = np.tile(np.arange(len(everything.offsets) - 1), (len(vectors), 1))
    documents, scores = best_in_lists(vectors, probes, everything, matrix, k, kept)
    return np.where(documents >= 0, part.rows[documents], -1), scores


def _kept(part: Part, among: Callable[[Part], NDArray[np.bool_]] | None) -> NDArray[np.bool_] | None:
    kept = part.alive if among is None else part.alive & among(part)
    return None if kept.all() else kept
