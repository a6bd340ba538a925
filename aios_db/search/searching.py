"""What `SearchIndex` answers: by vector, by keyword and over links, each class of trust by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.retrieval import Filter, Hits, RowIds
from aios_db.schema.trust import capped, ceilings
from aios_db.search import kernels
from aios_db.search.joint import Question, best, is_medium, standardised
from aios_db.search.levels import Level
from aios_db.search.nearest import Found, search
from aios_db.search.queries import Moments
from aios_db.search.ranking import best_of_parts, strongest
from aios_db.search.rowtable import RowTable
from aios_db.search.vectors import checked_query
from aios_db.search.view import Viewing


class Searching(Viewing):
    """Searches, scores, and spreads over links."""

    dimension: int

    def vector_search(
        self, vector: NDArray[np.float32], k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the ``k`` memories nearest to a float32 ``vector`` by inner product.

        With ``by_trust`` it is ``k`` of each class of trust, so that none of them is crowded out by others.
        """
        vector, k = checked_query(vector, self.dimension), _checked_k(k)

        def of(level: Level) -> Found:
            within = self._resolved(where, level)
            return best_of_parts([search(part, vector, k, within) for part in self._view.parts], k)

        with self._lock, single_threaded():
            moments = self._view.vector_query(vector).moments
            return self._of_levels(of, moments, None if by_trust else k)

    def keyword_search(
        self, text: str, k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the ``k`` memories with the highest BM25 score; only such as hold a word of ``text``.

        ``by_trust`` as in `vector_search`.
        """
        k = _checked_k(k)

        with self._lock:
            query = self._view.keyword_query(text)
            of = lambda level: query.scorer(level).search(k, self._resolved(where, level))  # noqa: E731
            return self._of_levels(of, query.moments, None if by_trust else k)

    def vector_scores(self, vector: NDArray[np.float32], row_ids: RowIds) -> Hits:
        """Return the cosines of given memories with a ``vector``, in their order; 0 for unknown ones."""
        vector = checked_query(vector, self.dimension)
        scores = np.zeros(len(row_ids), np.float32)
        with self._lock:
            for part, at, inside in self._view.living_in_parts(row_ids):
                scores[inside] = kernels.vectors.products(part.vectors, at, vector)
            return self._relative(row_ids, scores, self._view.vector_query(vector).moments)

    def keyword_scores(self, text: str, row_ids: RowIds) -> Hits:
        """Return the BM25 scores of given memories for ``text``, in their order; 0 for unknown ones."""
        scores = np.zeros(len(row_ids), np.float32)
        with self._lock:
            levels, query = self._levels(), self._view.keyword_query(text)
            for part, at, inside in self._view.living_in_parts(row_ids):
                for level in levels:
                    of = self._of_level(levels, part.rows[at], level)
                    scores[inside[of]] = query.scorer(level).scores(part, at[of])
            return self._relative(row_ids, scores, query.moments)

    def joint_search(
        self, question: Question, k: int, where: Filter | None = None, *, media: bool = False
    ) -> tuple[RowIds, NDArray[np.float64]]:
        """Return the ``k`` memories of each class of trust that answer a question in the joint space best.

        Parameters
        ----------
        question
            As `aios_db.search.joint.JointVectors.scores` takes it.
        media
            Only such as are more than a text.

        Returns
        -------
        tuple
            Row ids, and float64 scores in deviations above the mean of memories of the same modalities.
        """
        k = _checked_k(k)
        with self._lock:
            found = []
            for level, (rows, scores) in zip(self._levels(), self._joint(question, media=media), strict=True):
                within = self._resolved(where, level)
                found.append(best(rows, scores, k, partial(self._view.passes, where=within)))
        best_rows, best_scores = (np.concatenate(column) for column in zip(*found, strict=True))
        return best_rows, best_scores

    def joint_scores(
        self, question: Question, row_ids: RowIds, *, media: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores of given memories in the joint space, 0 of those without a vector in it."""
        with self._lock:
            scores = RowTable(np.float64, 0.0)
            for rows, found in self._joint(question, media=media):
                scores[rows] = found
            return scores[row_ids]

    def spread(
        self,
        row_ids: RowIds,
        scores: NDArray[np.float64],
        hops: int,
        where: Filter | None = None,
        most: int | None = None,
    ) -> tuple[RowIds, NDArray[np.float64], RowIds]:
        """Let scores flow over the links (`LinkGraph.spread`); only memories that pass are returned.

        They flow to memories that are trusted as much or less, and never to those trusted more. ``most``
        limits those that are not among ``row_ids``, to the ones of each class of trust where most arrived.
        """
        hops, found = max(hops, 0), []
        with self._lock:
            where, levels = self._view.standing.restrict(where), self._levels()
            where = self._by_row(where)
            for level in levels:
                if level.is_all:
                    rows, arrived, distances = self._view.graph.spread(row_ids, scores, hops, self._trusted)
                    keep = self._view.passes(rows, where)
                else:
                    given = level.counts(row_ids)
                    rows, arrived, distances = self._view.graph.spread(
                        row_ids[given], scores[given], hops, self._trusted, level.counts
                    )
                    keep = self._view.passes(rows, where) & level.has(rows)
                found.append(_strongest(rows[keep], arrived[keep], distances[keep], most))
        rows, arrived, distances = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(rows, kind="stable")
        return rows[order], arrived[order], distances[order]

    def neighbors(self, row_id: int, hops: int) -> tuple[RowIds, RowIds]:
        """Return the memories up to ``hops`` links away and their distances, nearest first."""
        with self._lock:
            self._view.standing.look(self._view.parts)
            rows, _, distances = self._view.graph.spread(np.array([row_id]), np.ones(1), hops)
            keep = self._view.passes(rows, self._view.standing.restrict(None)) & (distances > 0)
        order = np.lexsort((rows[keep], distances[keep]))
        return rows[keep][order], distances[keep][order]

    def classes(self, row_ids: RowIds) -> NDArray[np.uint8]:
        """Return the class of trust that each memory is in, a place among those of `levels`."""
        with self._lock:
            self._view.standing.look(self._view.parts)
            return self._view.standing.of(row_ids)

    def has_below(self, number: int) -> bool:
        """Tell whether any memory is in a class of trust below one."""
        with self._lock:
            self._view.standing.look(self._view.parts)
            return self._view.standing.classes.has_below(number)

    # Inside

    def _joint(self, question: Question, *, media: bool) -> list[tuple[RowIds, NDArray[np.float64]]]:
        """Return of each class of trust the row ids and scores of what a question says something of.

        How much a score is follows from what is trusted at least as much.
        """
        rows, sets, scores = self._view.joint_query(question)
        found = []
        for level in self._levels():
            counted = np.ones(len(rows), np.bool_) if level.is_all else level.counts(rows)
            own = counted if level.is_all else level.has(rows)
            own = own & is_medium(sets) if media else own
            found.append((rows[own], standardised(scores, sets, counted)[own]))
        return found

    def _levels(self) -> Sequence[Level]:
        self._view.standing.look(self._view.parts)
        return self._view.standing.levels(self._view.parts, self._view.totals)

    def _of_levels(
        self, search_in: Callable[[Level], Found], moments: Callable[[Level], Moments], k: int | None
    ) -> Hits:
        """Return what is found in each class of trust, best first; ``k`` of all, or all."""
        levels = self._levels()
        found = [search_in(level) for level in levels]
        if len(levels) == 1:
            return Hits(*found[0], *moments(levels[0]))
        rows, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((rows, -scores))[:k]
        told = np.array([moments(level) for level in levels]).repeat([len(each[0]) for each in found], axis=0)
        return Hits(rows[order], scores[order], *told[order].T)

    def _relative(
        self, rows: RowIds, scores: NDArray[np.float32], moments: Callable[[Level], Moments]
    ) -> Hits:
        """Return scores of memories with what they are relative to, by the class of each."""
        levels = self._levels()
        if len(levels) == 1:
            return Hits(rows, scores, *moments(levels[0]))
        told = np.zeros((len(rows), 2))
        for level in levels:
            told[self._of_level(levels, rows, level)] = moments(level)
        return Hits(rows, scores, *told.T)

    @staticmethod
    def _of_level(levels: Sequence[Level], rows: RowIds, level: Level) -> NDArray[np.bool_]:
        """Tell which memories are of a class; those of none, which are held, are of the last."""
        if len(levels) == 1:
            return np.ones(len(rows), np.bool_)
        return ~levels[-2].counts(rows) if level is levels[-1] else level.has(rows)

    def _resolved(self, where: Filter | None, level: Level) -> Filter | None:
        """Return a filter as the parts take it: None when it restricts nothing, memories by row id.

        What is of another class of trust is left out.
        """
        return self._by_row(self._view.standing.restrict(where, level))

    def _by_row(self, where: Filter | None) -> Filter | None:
        if not where:
            return None
        within = where.values.get("within")
        return where if within is None else where.replaced(within=self._view.find_ids(within))

    def _trusted(self, rows: RowIds, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of memories as they count: under their ceilings."""
        return capped(scores, ceilings(self._view.standing.trust(rows)))


def _strongest(
    rows: RowIds, arrived: NDArray[np.float64], distances: RowIds, most: int | None
) -> tuple[RowIds, NDArray[np.float64], RowIds]:
    """Return what was reached, and of that which was not given only the ``most`` where most arrived."""
    if most is None:
        return rows, arrived, distances
    given = distances == 0
    keep = np.concatenate([np.flatnonzero(given), strongest(arrived, np.flatnonzero(~given), most)])
    return rows[keep], arrived[keep], distances[keep]


def _checked_k(k: int) -> int:
    if k < 0:
        raise ProgrammingError(f"k is {k}; ask for 0 or more memories")
    return k
