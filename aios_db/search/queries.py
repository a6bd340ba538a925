"""A query by words or by vector, with what each class of trust is to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.search.analyzer import Analyzer, merged
from aios_db.search.keywords import Collection, KeywordScorer
from aios_db.search.levels import Level
from aios_db.search.part import Part

Moments = tuple[float, float]
"""Mean and standard deviation of a score over all memories of a class and of those above it."""


class KeywordQuery:
    """The words of a text.

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
    """A vector: float32 ``(dimension,)``."""

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
