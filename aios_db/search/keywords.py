"""BM25 (Robertson and Zaragoza, 2009) over inverted lists, a term at a time with MaxScore pruning.

Terms are taken from the rarest to the most frequent. As soon as no memory that lacks the terms so far can
still reach the best ``k`` (Turtle and Flood, 1995), the lists of the remaining, frequent terms are only
looked up for the candidates found, so that a common word costs what its candidates cost and not what its
list is long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, Hits, Rows
from aios_db.search.part import Part
from aios_db.search.postings import Counts, Docs
from aios_db.search.ranking import best, sorted_unique

K1 = 0.9
B = 0.4
_MOST_TERMS = 256
_SAMPLE = 8192  # documents to take a threshold from
_LONG_LIST = 4096  # reading a shorter list costs less than deciding not to


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


class KeywordScorer:
    """One query's terms, weighted, ready to score the documents of any part."""

    def __init__(self, terms: Sequence[int], parts: Sequence[Part], collection: Collection) -> None:
        lengths = ((sum(part.postings.length(term) for part in parts), term) for term in terms)
        present = sorted((length, term) for length, term in lengths if length)[:_MOST_TERMS]
        self._terms = [(term, collection.idf(length)) for length, term in present]
        self._frequencies = [length for length, _ in present]
        self._collection = collection
        self._parts = parts

    def search(self, k: int, where: Filter | None) -> Hits:
        """Return the best ``k`` memories that hold a term and pass the filter."""
        found = [self._search_part(part, k, where) for part in self._parts]
        rows = np.concatenate([rows for rows, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        return Hits(*best(rows, scores, k), *self.moments())

    def scores(self, part: Part, documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the score of each of some documents."""
        order = np.argsort(documents)
        wanted = documents[order].astype(np.int32)
        total = np.zeros(len(documents), np.float32)
        for term, idf in self._terms:
            total[order] += self._lookup(part, term, idf, wanted)
        return total

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation of the score over the collection, terms taken as independent."""
        mean = variance = 0.0
        n = max(self._collection.documents, 1)
        for term, idf in self._terms:
            first = second = 0.0
            for part in self._parts:
                one, two = part.moments(term, self._impacts)
                first, second = first + one, second + two
            mean += idf * first / n
            variance += idf**2 * max(second / n - (first / n) ** 2, 0.0)
        return mean, math.sqrt(variance) or 1.0

    def _impacts(self, part: Part, docs: Docs, counts: Counts) -> NDArray[np.float32]:
        tf = counts.astype(np.float32)
        norm = part.lengths[docs] * np.float32(K1 * B / self._collection.mean_length)
        norm += np.float32(K1 * (1 - B)) + tf
        return tf * np.float32(K1 + 1) / norm

    def _lookup(self, part: Part, term: int, idf: float, wanted: Docs) -> NDArray[np.float32]:
        docs, counts = part.postings.get(term)
        result = np.zeros(len(wanted), np.float32)
        if len(docs) == 0 or len(wanted) == 0:
            return result
        at = np.minimum(np.searchsorted(docs, wanted), len(docs) - 1)
        hit = np.flatnonzero(docs[at] == wanted)
        result[hit] = np.float32(idf) * self._impacts(part, docs[at[hit]], counts[at[hit]])
        return result

    def _search_part(self, part: Part, k: int, where: Filter | None) -> tuple[Rows, NDArray[np.float32]]:
        if not self._terms or k == 0 or len(part) == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        allowed = part.matching(where)
        all_allowed = bool(allowed.all())
        scores = np.zeros(len(part), np.float32)
        touched: list[Docs] = []
        bounds = np.cumsum([idf * (K1 + 1) for _, idf in reversed(self._terms)])[::-1]
        rest: int | None = None
        for i, (term, idf) in enumerate(self._terms):
            long = self._frequencies[i] > _LONG_LIST
            if long and touched and bounds[i] < self._threshold(scores, touched, k):
                rest = i
                break
            docs, counts = part.postings.get(term)
            if not all_allowed:
                keep = allowed[docs]
                docs, counts = docs[keep], counts[keep]
            scores[docs] += np.float32(idf) * self._impacts(part, docs, counts)
            touched.append(docs)
        candidates = np.concatenate(touched)
        if rest is not None:
            threshold = self._threshold(scores, touched, k)
            candidates = candidates[scores[candidates] + np.float32(bounds[rest]) >= threshold]
        candidates = sorted_unique(candidates)
        if rest is not None:
            for term, idf in self._terms[rest:]:
                scores[candidates] += self._lookup(part, term, idf, candidates)
        return best(part.rows[candidates], scores[candidates], k)

    @staticmethod
    def _threshold(scores: NDArray[np.float32], touched: list[Docs], k: int) -> float:
        """Return a score that at least ``k`` documents have reached, or -1; rare terms suffice."""
        lists = touched[: 1 + int(np.searchsorted(np.cumsum([len(docs) for docs in touched]), _SAMPLE))]
        values = np.concatenate([scores[docs] for docs in lists])
        at = len(values) - k * len(lists)  # a document may be in `lists` once a term
        return float(np.partition(values, at)[at]) if at >= 0 else -1.0
