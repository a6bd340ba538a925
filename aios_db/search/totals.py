"""What scores are relative to: how many memories there are, of how many words, where their vectors lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.search.languages import TOLD_APART
from aios_db.search.vectors import Statistics

if TYPE_CHECKING:
    from aios_db.search.part import Part


class Totals:
    """Sums over a changing set of memories.

    Attributes
    ----------
    documents, terms
        How many memories, and terms in them.
    languages
        int64: how many in each of `languages.TOLD_APART`.
    vectors
        Where their vectors lie.
    """

    def __init__(self, documents: int, terms: int, languages: NDArray[np.int64], vectors: Statistics) -> None:
        self.documents, self.terms, self.languages, self.vectors = documents, terms, languages, vectors

    @classmethod
    def empty(cls, dimension: int) -> Totals:
        """Return the totals of no memories."""
        return cls(0, 0, np.zeros(len(TOLD_APART), np.int64), Statistics.empty(dimension))

    def copy(self) -> Totals:
        """Return totals that later changes to these do not change."""
        return Totals(self.documents, self.terms, self.languages.copy(), self.vectors.copy())

    def add(self, part: Part, documents: NDArray[np.int64], sign: int = 1) -> None:
        """Add documents of a part, or take them away with ``sign`` -1."""
        languages = part.columns["languages"][documents]
        self.documents += sign * len(documents)
        self.terms += sign * int(part.lengths[documents].sum())
        self.languages += sign * np.bincount(languages, minlength=len(TOLD_APART))
        self.vectors.add(part.vectors[documents], sign)

    def without(self, others: Sequence[Totals]) -> Totals:
        """Return the totals less those of distinct subsets; itself, not a copy, where there are none."""
        if not others:
            return self
        vectors = self.vectors.copy()
        for each in others:
            vectors.take_away(each.vectors)
        return Totals(
            self.documents - sum(each.documents for each in others),
            self.terms - sum(each.terms for each in others),
            self.languages - np.sum([each.languages for each in others], axis=0, dtype=np.int64),
            vectors,
        )

    @property
    def present_languages(self) -> list[int]:
        """The languages that any of the memories has."""
        found: list[int] = np.flatnonzero(self.languages).tolist()
        return found
