"""Searches in the joint space of texts, pictures and sounds, each class of trust by itself."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.current import Seen
from aios_db.search.joint import Question, best
from aios_db.search.queries import checked_k
from aios_db.search.rowtable import RowTable


class JointSearching:
    """Searches and scores by a question in the joint space, as `JointVectors.scores` takes it."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def joint_search(
        self, question: Question, k: int, where: Filter | None = None, *, media: bool = False
    ) -> tuple[RowIds, NDArray[np.float64]]:
        """Return the ``k`` memories of each class of trust that answer a question best.

        Parameters
        ----------
        question
            What is asked.
        k
            Memories of each class.
        where
            Leaves out what does not pass.
        media
            Only such as are more than a text.

        Returns
        -------
        row_ids, scores
            int64 and float64 ``(n,)``; scores in deviations above the mean of memories of the same
            modalities.
        """
        k = checked_k(k)
        view, stand = self._seen.looked()
        query, found = view.joint_query(question), []
        for level in stand.levels:
            rows, scores = query.scores(level, media=media)
            within = view.by_row(stand.restrict(where, level))
            found.append(best(rows, scores, k, partial(view.documents.passes, where=within)))
        best_rows, best_scores = (np.concatenate(column) for column in zip(*found, strict=True))
        return best_rows, best_scores

    def joint_scores(
        self, question: Question, row_ids: RowIds, *, media: bool = False
    ) -> NDArray[np.float64]:
        """Return the scores of given memories, float64 in their order, 0 of those without a joint vector."""
        table = RowTable(np.float64, 0.0)
        view, stand = self._seen.looked()
        query = view.joint_query(question)
        for level in stand.levels:
            rows, scores = query.scores(level, media=media)
            table[rows] = scores
        return table[row_ids]
