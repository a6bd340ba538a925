"""Scores that flow over links, and the neighbours of a memory."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.schema.trust import capped, ceilings
from aios_db.search.current import Seen
from aios_db.search.ranking import strongest
from aios_db.search.stand import Stand


class Spreading:
    """Goes along links, from what is trusted to what is trusted as much or less."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def spread(
        self,
        row_ids: RowIds,
        scores: NDArray[np.float64],
        hops: int,
        where: Filter | None = None,
        most: int | None = None,
    ) -> tuple[RowIds, NDArray[np.float64], RowIds]:
        """Let scores flow over the links (`LinkGraph.spread`), never to memories that are trusted more.

        Parameters
        ----------
        row_ids, scores
            Where they flow from: int64, ascending, and float64.
        hops
            How many links far; less than 0 is 0.
        where
            Only memories that pass are returned. What does not pass still leads on.
        most
            Limits those that are not among ``row_ids``, to the ones of each class of trust where most
            arrived.

        Returns
        -------
        row_ids, scores, distances
            int64, float64 and int64 ``(n,)``, ascending by row id: what was given or reached, what arrived
            there, and how many links away it is.
        """
        hops, found = max(hops, 0), []
        view, stand = self._seen.looked()
        graph, passes = view.graph, view.documents.passes
        where, counted = view.by_row(stand.restrict(where)), partial(_under_ceilings, stand)
        for level in stand.levels:
            if level.is_all:
                rows, arrived, distances = graph.spread(row_ids, scores, hops, counted)
                keep = passes(rows, where)
            else:
                given = level.counts(row_ids)
                rows, arrived, distances = graph.spread(
                    row_ids[given], scores[given], hops, counted, level.counts
                )
                keep = passes(rows, where) & level.has(rows)
            found.append(_strongest(rows[keep], arrived[keep], distances[keep], most))
        rows, arrived, distances = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(rows, kind="stable")
        return rows[order], arrived[order], distances[order]

    def neighbors(self, row_id: int, hops: int) -> tuple[RowIds, RowIds]:
        """Return the memories up to ``hops`` links away and their distances, nearest first."""
        view, stand = self._seen.looked()
        rows, _, distances = view.graph.spread(np.array([row_id]), np.ones(1), hops)
        keep = view.documents.passes(rows, stand.restrict(None)) & (distances > 0)
        order = np.lexsort((rows[keep], distances[keep]))
        return rows[keep][order], distances[keep][order]


def _under_ceilings(stand: Stand, rows: RowIds, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of memories as they count: under their ceilings."""
    return capped(scores, ceilings(stand.trust(rows)))


def _strongest(
    rows: RowIds, arrived: NDArray[np.float64], distances: RowIds, most: int | None
) -> tuple[RowIds, NDArray[np.float64], RowIds]:
    """Return what was reached, and of that which was not given only the ``most`` where most arrived."""
    if most is None:
        return rows, arrived, distances
    given = distances == 0
    keep = np.concatenate([np.flatnonzero(given), strongest(arrived, np.flatnonzero(~given), most)])
    return rows[keep], arrived[keep], distances[keep]
