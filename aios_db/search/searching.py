"""Searches by vector and by keyword, and the scores of given memories, each class of trust by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.schema.retrieval import Filter, Hits, RowIds
from aios_db.search import kernels
from aios_db.search.current import Seen
from aios_db.search.documents import Documents
from aios_db.search.levels import Level, members
from aios_db.search.nearest import Found, search
from aios_db.search.queries import Moments, checked_k
from aios_db.search.ranking import best_of_parts
from aios_db.search.vectors import checked_query


class Searching:
    """Searches and scores.

    Parameters
    ----------
    seen
        What is searched.
    dimension
        Length of the vectors.
    """

    def __init__(self, seen: Seen, dimension: int) -> None:
        self._seen, self._dimension = seen, dimension

    def vector_search(
        self, vector: NDArray[np.float32], k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the ``k`` memories nearest to a float32 ``vector`` by inner product.

        With ``by_trust`` it is ``k`` of each class of trust, so that none of them is crowded out by others.
        """
        vector, k = checked_query(vector, self._dimension), checked_k(k)
        with single_threaded():
            view, stand = self._seen.looked()

            def of(level: Level) -> Found:
                within = view.by_row(stand.restrict(where, level))
                return best_of_parts([search(part, vector, k, within) for part in view.documents.parts], k)

            moments = view.vector_query(vector).moments
            found = _of_levels(stand.levels, of, moments, None if by_trust else k)
            return _neutral(found, view.documents)

    def keyword_search(
        self, text: str, k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the ``k`` memories with the highest BM25 score; only such as hold a word of ``text``.

        ``by_trust`` as in `vector_search`.
        """
        k = checked_k(k)
        view, stand = self._seen.looked()
        query = view.keyword_query(text)
        of = lambda level: query.scorer(level).search(k, view.by_row(stand.restrict(where, level)))  # noqa: E731
        return _of_levels(stand.levels, of, query.moments, None if by_trust else k)

    def vector_scores(self, vector: NDArray[np.float32], row_ids: RowIds) -> Hits:
        """Return the cosines of given memories with a ``vector``, in their order; 0 for unknown ones.

        What has no vector is where the mean is: nothing is known of it.
        """
        vector = checked_query(vector, self._dimension)
        scores = np.zeros(len(row_ids), np.float32)
        view, stand = self._seen.looked()
        for part, at, inside in view.documents.living_in_parts(row_ids):
            scores[inside] = kernels.vectors.products(part.vectors, at, vector)
        found = _relative(stand.levels, row_ids, scores, view.vector_query(vector).moments)
        return _neutral(found, view.documents)

    def keyword_scores(self, text: str, row_ids: RowIds) -> Hits:
        """Return the BM25 scores of given memories for ``text``, in their order; 0 for unknown ones."""
        scores = np.zeros(len(row_ids), np.float32)
        view, stand = self._seen.looked()
        levels, query = stand.levels, view.keyword_query(text)
        for part, at, inside in view.documents.living_in_parts(row_ids):
            for level in levels:
                of = members(levels, part.rows[at], level)
                scores[inside[of]] = query.scorer(level).scores(part, at[of])
        return _relative(levels, row_ids, scores, query.moments)


def _of_levels(
    levels: Sequence[Level],
    search_in: Callable[[Level], Found],
    moments: Callable[[Level], Moments],
    k: int | None,
) -> Hits:
    """Return what is found in each class of trust, best first; ``k`` of all, or all."""
    found = [search_in(level) for level in levels]
    if len(levels) == 1:
        return Hits(*found[0], *moments(levels[0]))
    rows, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((rows, -scores))[:k]
    told = np.array([moments(level) for level in levels]).repeat([len(each[0]) for each in found], axis=0)
    return Hits(rows[order], scores[order], *told[order].T)


def _neutral(hits: Hits, documents: Documents) -> Hits:
    """Return hits of which those without a vector, as a picture without words, are at the mean."""
    blank = hits.scores == 0
    blank[blank] = ~documents.have_vector(hits.row_ids[blank])
    return replace(hits, mean=np.where(blank, 0.0, hits.mean)) if blank.any() else hits


def _relative(
    levels: Sequence[Level],
    rows: RowIds,
    scores: NDArray[np.float32],
    moments: Callable[[Level], Moments],
) -> Hits:
    """Return scores of memories with what they are relative to, by the class of each."""
    if len(levels) == 1:
        return Hits(rows, scores, *moments(levels[0]))
    told = np.zeros((len(rows), 2))
    for level in levels:
        told[members(levels, rows, level)] = moments(level)
    return Hits(rows, scores, *told.T)
