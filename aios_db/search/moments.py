"""Sums over the inverted lists of a segment, by which keyword scores are standardised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.search.keywords import Collection, steady_norm
from aios_db.search.portable.keywords import impacts
from aios_db.search.postings import Postings

_BLOCK = 65536


def term_moments(terms: Postings, lengths: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return float64 ``(terms, 2)``: sum and sum of squares of each term's BM25 impacts without idf."""
    moments = np.zeros((len(terms.keys), 2))
    norm = steady_norm(Collection(len(lengths), int(lengths.sum(dtype=np.int64))).mean_length)
    first = 0
    while first < len(moments):  # some whole lists at a time, to be summed in float64
        last = int(terms.offsets.searchsorted(terms.offsets[first] + _BLOCK, side="right")) - 1
        last = min(max(last, first + 1), len(moments))
        span = slice(int(terms.offsets[first]), int(terms.offsets[last]))
        values = impacts(norm, lengths, terms.docs[span], terms.counts[span]).astype(np.float64)
        starts = terms.offsets[first:last] - span.start
        moments[first:last, 0] = np.add.reduceat(values, starts)
        moments[first:last, 1] = np.add.reduceat(np.square(values), starts)
        first = last
    return moments
