"""BM25 (Robertson and Zaragoza, 2009) over inverted lists, a term at a time with MaxScore pruning.

Terms are taken from the rarest to the most frequent. As soon as no memory that lacks the terms so far can
still reach the best ``k`` (Turtle and Flood, 1995), the lists of the remaining, frequent terms are only
looked up for the candidates found, and after each of them the candidates that have fallen too far behind are
dropped. So a common word costs what its candidates cost and not what its list is long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, Hits, Rows
from aios_db.search.part import Part
from aios_db.search.postings import Counts, Docs
from aios_db.search.ranking import best, sorted_unique

K1 = 0.9
B = 0.4
_MOST_TERMS = 256
_SAMPLE = 1024  # documents to take a threshold from
_LONG_LIST = 4096  # reading a shorter list costs less than deciding not to
_LOOK_UP = 16  # finding a document in a list costs as much as reading this many of its entries
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


class KeywordScorer:
    """One query's terms, weighted, ready to score the documents of some parts."""

    def __init__(self, terms: Sequence[int], parts: Sequence[Part], collection: Collection) -> None:
        keys = np.array(terms, np.uint64)
        lengths = np.sum([part.postings.lengths(keys) for part in parts], axis=0).tolist()
        present = sorted((length, term) for length, term in zip(lengths, terms, strict=True) if length)
        self._terms = [(term, collection.idf(length)) for length, term in present[:_MOST_TERMS]]
        self._lists = {part: [part.postings.get(term) for term, _ in self._terms] for part in parts}
        # Of each term and all that are more frequent, the most that they can add to a score.
        shares = [idf * (K1 + 1) for _, idf in reversed(self._terms)]
        self._bounds = list(accumulate(shares, initial=_ROUNDING))[::-1]
        self._collection = collection
        self._moments: tuple[float, float] | None = None

    def search(self, k: int, where: Filter | None) -> Hits:
        """Return the best ``k`` memories that hold a term and pass the filter."""
        found = [self._search_part(part, k, where) for part in self._lists]
        rows, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        return Hits(*best(rows, scores, k), *self.moments())

    def scores(self, part: Part, documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the score of each of some documents."""
        order = np.argsort(documents)
        wanted = documents[order].astype(np.int32)
        total = np.zeros(len(documents), np.float32)
        for (_, idf), (docs, counts) in zip(self._terms, self._lists[part], strict=True):
            hit, at = _places(docs, wanted)
            total[order[hit]] += np.float32(idf) * self._impacts(part, docs[at], counts[at])
        return total

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation of the score over the collection, terms taken as independent."""
        if self._moments is None:
            mean = variance = 0.0
            n = max(self._collection.documents, 1)
            for term, idf in self._terms:
                first = second = 0.0
                for part in self._lists:
                    one, two = part.moments(term, self._impacts)
                    first, second = first + one, second + two
                mean += idf * first / n
                variance += idf**2 * max(second / n - (first / n) ** 2, 0.0)
            self._moments = mean, math.sqrt(variance) or 1.0
        return self._moments

    def _impacts(self, part: Part, docs: Docs, counts: Counts) -> NDArray[np.float32]:
        tf = counts.astype(np.float32)
        norm = part.lengths[docs] * np.float32(K1 * B / self._collection.mean_length)
        norm += np.float32(K1 * (1 - B))
        norm += tf
        tf *= np.float32(K1 + 1)
        tf /= norm
        return tf

    def _search_part(self, part: Part, k: int, where: Filter | None) -> tuple[Rows, NDArray[np.float32]]:
        if not self._terms or k == 0 or len(part) == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        allowed = part.matching(where)
        all_allowed = bool(allowed.all())
        totals = np.zeros(len(part), np.float32)

        def add(number: int, docs: Docs, counts: Counts) -> None:
            totals[docs] += np.float32(self._terms[number][1]) * self._impacts(part, docs, counts)

        lists, touched, reached = self._lists[part], list[Docs](), -1.0
        for number, (docs, counts) in enumerate(lists):
            if len(docs) > _LONG_LIST:
                reached = _reached(totals, touched, k)
                if self._bounds[number] < reached:
                    break
            keep = slice(None) if all_allowed else allowed[docs]
            touched.append(docs[keep])
            add(number, touched[-1], counts[keep])
        read = len(touched)
        candidates = np.concatenate(touched)
        candidates = sorted_unique(candidates[totals[candidates] >= reached - self._bounds[read]])
        for number in range(read, len(lists)):
            docs, counts = lists[number]
            if len(candidates) * _LOOK_UP < len(docs):
                _, at = _places(docs, candidates)
                docs, counts = docs[at], counts[at]
            add(number, docs, counts)
            if len(candidates) > k:
                scores = totals[candidates]
                least = np.partition(scores, -k)[-k] - self._bounds[number + 1]
                candidates = candidates[scores >= least]
        return best(part.rows[candidates], totals[candidates], k)


def _places(docs: Docs, wanted: Docs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of the ``wanted`` documents, ascending, are in a list, and where."""
    if len(docs) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    at = docs.searchsorted(wanted)
    at[at == len(docs)] = 0
    hit = np.flatnonzero(docs[at] == wanted)
    return hit, at[hit]


def _reached(totals: NDArray[np.float32], lists: list[Docs], k: int) -> float:
    """Return a score that at least ``k`` documents of the lists have, or -1; the rarest ones suffice."""
    sample: list[Docs] = []
    left = max(_SAMPLE, 2 * k)
    for docs in lists:
        sample.append(docs[:left])
        left -= len(sample[-1])
    documents = sorted_unique(np.concatenate([np.empty(0, np.int32), *sample]))
    return float(np.partition(totals[documents], -k)[-k]) if k <= len(documents) else -1.0
