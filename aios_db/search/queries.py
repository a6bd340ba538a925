"""A query by words, by vector or in the joint space, with what each class of trust is to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.retrieval import RowIds
from aios_db.search.analyzer import Analyzer, merged
from aios_db.search.documents import Documents
from aios_db.search.joint import JointVectors, Question, is_medium, standardised
from aios_db.search.keywords import Collection, KeywordScorer
from aios_db.search.levels import Level
from aios_db.search.part import Part

Moments = tuple[float, float]
"""Mean and standard deviation of a score over all memories of a class and of those above it."""


class KeywordQuery:
    """A text that is asked, with what scores memories by its words for each class of trust.

    Parameters
    ----------
    text
        As it was asked.
    analyzer
        Makes terms of it, in the languages that there are.
    parts
        What can be found.
    """

    def __init__(self, text: str, analyzer: Analyzer, parts: Sequence[Part]) -> None:
        self.text = text
        self._analyzer, self._parts = analyzer, parts
        self._scorers: dict[Level, KeywordScorer] = {}

    def scorer(self, level: Level) -> KeywordScorer:
        """Return what scores the memories of a class of trust."""
        scorer = self._scorers.get(level)
        if scorer is None:
            totals = level.totals
            terms = merged(self._analyzer.query(self.text, totals.present_languages))
            collection = Collection(totals.documents, totals.terms)
            scorer = self._scorers[level] = KeywordScorer(terms, self._parts, collection, level.counted)
        return scorer

    def moments(self, level: Level) -> Moments:
        """Return mean and standard deviation of the score in a class."""
        return self.scorer(level).moments()


class VectorQuery:
    """A vector that is asked, float32 ``(dimension,)``, with its moments for each class of trust."""

    def __init__(self, vector: NDArray[np.float32]) -> None:
        self.vector = vector
        self._moments: dict[Level, Moments] = {}

    def moments(self, level: Level) -> Moments:
        """Return mean and standard deviation of the inner product in a class."""
        moments = self._moments.get(level)
        if moments is None:
            with single_threaded():
                moments = self._moments[level] = level.totals.vectors.moments(self.vector)
        return moments


class JointQuery:
    """A question in the joint space, with the living memories that it says something of.

    Parameters
    ----------
    question
        As `JointVectors.scores` takes it.
    vectors
        Those of the joint space.
    documents
        Which memories there are.
    """

    def __init__(self, question: Question, vectors: JointVectors, documents: Documents) -> None:
        self.question = question
        rows, sets, scores = vectors.scores(question)
        living = documents.passes(rows)
        self._rows, self._sets, self._scores = rows[living], sets[living], scores[living]

    def scores(self, level: Level, *, media: bool) -> tuple[RowIds, NDArray[np.float64]]:
        """Return the memories of a class that the question says something of, and their scores.

        How much a score is follows from what is trusted at least as much.

        Parameters
        ----------
        level
            The class of trust.
        media
            Only such as are more than a text.

        Returns
        -------
        row_ids, scores
            int64 and float64 ``(n,)``, in no order; scores in deviations above the mean of memories of the
            same modalities.
        """
        rows, sets = self._rows, self._sets
        counted = np.ones(len(rows), np.bool_) if level.is_all else level.counts(rows)
        own = counted if level.is_all else level.has(rows)
        own = own & is_medium(sets) if media else own
        return rows[own], standardised(self._scores, sets, counted)[own]


def checked_k(k: int) -> int:
    """Return how many memories are asked for.

    Raises
    ------
    ProgrammingError
        It is negative.
    """
    if k < 0:
        raise ProgrammingError(f"k is {k}; ask for 0 or more memories")
    return k
