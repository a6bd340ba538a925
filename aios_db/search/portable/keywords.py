"""BM25 over inverted lists, a term at a time with MaxScore pruning.

Terms come from the rarest to the most frequent. As soon as no memory that lacks the terms so far can still
reach the best ``k`` (Turtle and Flood, 1995), the lists of the remaining, frequent terms are only looked up
for the candidates found, and after each of them the candidates that have fallen too far behind are dropped.
So a common word costs what its candidates cost and not what its list is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.postings import Counts, Docs
from aios_db.search.ranking import best as best_of
from aios_db.search.ranking import sorted_unique

_SAMPLE = 1024  # documents to take a threshold from
_LONG_LIST = 4096  # reading a shorter list costs less than deciding not to
_LOOK_UP = 16  # finding a document in a list costs as much as reading this many of its entries

Lists = Sequence[tuple[Docs, Counts]]


class Norm(NamedTuple):
    """What BM25 makes of a term's count: ``factor * count / (count + per_term * length + constant)``."""

    per_term: float
    constant: float
    factor: float


def impacts(norm: Norm, lengths: NDArray[np.int32], docs: Docs, counts: Counts) -> NDArray[np.float32]:
    """Return what each entry of a list adds to its document's score, without the term's weight."""
    tf = counts.astype(np.float32)
    below = lengths[docs] * norm.per_term
    below += norm.constant
    below += tf
    tf *= np.float32(norm.factor)
    tf /= below
    return tf


def best(  # noqa: PLR0917
    lists: Lists,
    weights: NDArray[np.float32],
    bounds: NDArray[np.float64],
    norm: Norm,
    lengths: NDArray[np.int32],
    rows: RowIds,
    allowed: NDArray[np.bool_] | None,
    k: int,
) -> tuple[RowIds, NDArray[np.float32]]:
    """Return the documents with the highest scores.

    Parameters
    ----------
    lists
        The inverted list of each term, the rarest first; at least one, all of at least one document.
    weights
        float32 ``(terms,)``: the idf of each.
    bounds
        float64 ``(terms + 1,)``: the most that a term and all after it can add to a score, and the rounding
        error of a sum.
    norm, lengths
        How counts become scores, and int32 ``(documents,)``, the number of terms of each document.
    rows
        int64 ``(documents,)``: what the documents are called.
    allowed
        bool ``(documents,)``: which may be found; all when absent.
    k
        How many, at least 1.

    Returns
    -------
    rows, scores
        int64 and float32, best first, ties by row.
    """
    totals = np.zeros(len(lengths), np.float32)

    def add(number: int, docs: Docs, counts: Counts) -> None:
        totals[docs] += weights[number] * impacts(norm, lengths, docs, counts)

    touched, reached = list[Docs](), -1.0
    for number, (docs, counts) in enumerate(lists):
        if len(docs) > _LONG_LIST:
            reached = _reached(totals, touched, k)
            if bounds[number] < reached:
                break
        keep = slice(None) if allowed is None else allowed[docs]
        touched.append(docs[keep])
        add(number, touched[-1], counts[keep])
    read = len(touched)
    candidates = np.concatenate(touched)
    candidates = sorted_unique(candidates[totals[candidates] >= reached - bounds[read]])
    for number in range(read, len(lists)):
        docs, counts = lists[number]
        if len(candidates) * _LOOK_UP < len(docs):
            _, at = _places(docs, candidates)
            docs, counts = docs[at], counts[at]
        add(number, docs, counts)
        if len(candidates) > k:
            scores = totals[candidates]
            least = np.partition(scores, -k)[-k] - bounds[number + 1]
            candidates = candidates[scores >= least]
    return best_of(rows[candidates], totals[candidates], k)


def scores(
    lists: Lists,
    weights: NDArray[np.float32],
    norm: Norm,
    lengths: NDArray[np.int32],
    documents: Docs,
) -> NDArray[np.float32]:
    """Return float32 ``(len(documents),)``: the score of each of some documents, given ascending."""
    total = np.zeros(len(documents), np.float32)
    for weight, (docs, counts) in zip(weights, lists, strict=True):
        hit, at = _places(docs, documents)
        total[hit] += weight * impacts(norm, lengths, docs[at], counts[at])
    return total


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
