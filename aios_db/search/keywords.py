"""BM25 (Robertson and Zaragoza, 2009): a query's terms, their weights and what bounds a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search import kernels
from aios_db.search.part import Part
from aios_db.search.portable.keywords import Norm
from aios_db.search.ranking import best_of_parts

K1 = 0.9
B = 0.4
_MOST_TERMS = 256
_STEPS = 64  # an octave
_ROUNDING = 1e-4  # of sums of scores that were added in another order


@dataclass(frozen=True)
class Collection:
    """What BM25 needs to know of all memories together."""

    documents: int
    terms: int

    @property
    def mean_length(self) -> float:
        """Mean number of terms in a memory."""
        return self.terms / self.documents if self.documents and self.terms else 1.0

    def idf(self, frequency: int) -> float:
        """Return the weight of a term found in ``frequency`` memories."""
        frequency = min(frequency, self.documents)
        return math.log(1 + (self.documents - frequency + 0.5) / (frequency + 0.5))


def norm_of(mean_length: float) -> Norm:
    """Return how counts become scores where a memory has so many terms on average."""
    return Norm(K1 * B / mean_length, K1 * (1 - B), K1 + 1)


def steady_norm(mean_length: float) -> Norm:
    """Return the norm that moments are taken with: of the mean length in steps of one percent.

    So the moments that a segment stores stay the right ones while the collection grows.
    """
    return norm_of(2 ** (round(_STEPS * math.log2(mean_length)) / _STEPS))


def holding_any(part: Part, terms: Iterable[int]) -> NDArray[np.int32]:
    """Return the documents that hold any of some terms, ascending."""
    lists = [docs for docs in (part.postings.get(term)[0] for term in terms) if len(docs)]
    if not lists:
        return np.empty(0, np.int32)
    return lists[0] if len(lists) == 1 else np.unique(np.concatenate(lists))


class KeywordScorer:
    """One query's terms, weighted, ready to score the documents of some parts.

    Parameters
    ----------
    terms
        What each term counts, besides how rare it is.
    parts
        What can be found.
    collection
        What scores are relative to.
    counted
        Returns which documents of a part belong to the collection; None for all.
    """

    def __init__(
        self,
        terms: Mapping[int, float],
        parts: Sequence[Part],
        collection: Collection,
        counted: Callable[[Part], NDArray[np.bool_] | None] = lambda _: None,
    ) -> None:
        keys = np.array(list(terms), np.uint64)
        self._counted = {part: counted(part) for part in parts}
        lengths = np.sum([part.frequencies(keys, self._counted[part]) for part in parts], axis=0).tolist()
        present = sorted((length, term) for length, term in zip(lengths, terms, strict=True) if length)
        self._terms = [(term, terms[term] * collection.idf(length)) for length, term in present[:_MOST_TERMS]]
        self._lists = {part: [part.postings.get(term) for term, _ in self._terms] for part in parts}
        # Of each term and all that are more frequent, the most that they can add to a score.
        shares = [idf * (K1 + 1) for _, idf in reversed(self._terms)]
        self._bounds = np.array(list(accumulate(shares, initial=_ROUNDING))[::-1])
        self._weights = np.array([idf for _, idf in self._terms], np.float32)
        self._norm = norm_of(collection.mean_length)
        self._steady = steady_norm(collection.mean_length)
        self._documents = max(collection.documents, 1)
        self._moments: tuple[float, float] | None = None

    def search(self, k: int, where: Filter | None) -> tuple[RowIds, NDArray[np.float32]]:
        """Return the best ``k`` memories that hold a term and pass the filter, and their scores."""
        return best_of_parts([self._search_part(part, k, where) for part in self._lists], k)

    def scores(self, part: Part, documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the score of each of some documents."""
        order = np.argsort(documents)
        wanted = documents[order].astype(np.int32)
        total = np.empty(len(documents), np.float32)
        total[order] = kernels.keywords.scores(
            self._lists[part], self._weights, self._norm, part.lengths, wanted
        )
        return total

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation of the score over the collection, terms taken as independent."""
        if self._moments is None:
            mean = variance = 0.0
            for term, idf in self._terms:
                first = second = 0.0
                for part in self._lists:
                    one, two = part.moments(term, self._steady, self._counted[part])
                    first, second = first + one, second + two
                mean += idf * first / self._documents
                variance += idf**2 * max(second / self._documents - (first / self._documents) ** 2, 0.0)
            self._moments = mean, math.sqrt(variance) or 1.0
        return self._moments

    def _search_part(self, part: Part, k: int, where: Filter | None) -> tuple[RowIds, NDArray[np.float32]]:
        if not self._weights.size or k == 0 or len(part) == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        allowed = part.matching(where)
        return kernels.keywords.best(
            self._lists[part], self._weights, self._bounds, self._norm, part.lengths, part.rows,
            None if allowed.all() else allowed, k,
        )  # fmt: skip
