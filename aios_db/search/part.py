"""A set of indexed memories: columns by document number, inverted lists, and perhaps clusters of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from aios_db.schema.filters import CONDITIONS, Comparison, columns
from aios_db.schema.retrieval import Filter
from aios_db.search.conditions import PASSED
from aios_db.search.portable.keywords import Norm, impacts
from aios_db.search.postings import Docs, GrowingPostings, Postings
from aios_db.search.vectors import Clusters

HASHED = columns(Comparison.ONE_OF)
NUMBERS = (*columns(Comparison.AT_LEAST), *columns(Comparison.TRUSTED))
COLUMNS: dict[str, npt.DTypeLike] = {
    "rows": np.int64,  # Lance row id
    "ids": np.dtype("S36"),  # memory_id, a UUID
    "vectors": np.float32,  # (n, dimension), unit rows or decoded ones, zeros where there is none
    "lengths": np.int32,  # terms of the text, stop words left out
    "languages": np.uint8,  # the language its words were stemmed in, a place in `languages.TOLD_APART`
    "alive": np.bool_,
    "contents": np.uint64,  # hash of all that is analysed: text, title, scope and vector
    "hashes": np.uint64,  # beginning of the content hash's digest, see `KeyTable`
    "names": np.uint64,  # hash of the title's name, which several memories may have; 0 without a title
    "times": np.int64,  # microseconds since 1970: occurred_at, or created_at
    "ends": np.int64,  # valid_until, the greatest number there is where that is NULL
    **dict.fromkeys(HASHED, np.uint64),  # 0 for a missing value
    **dict.fromkeys(NUMBERS, np.float32),
}
ATTRIBUTES = ("times", "ends", *HASHED, *NUMBERS)  # change in place: nothing is derived from them
_FEW = 16
_NOWHERE = np.empty(0, np.int64)


class Part:
    """Documents numbered from 0. `Segment` maps them from files, `GrowingSegment` grows in memory."""

    columns: dict[str, NDArray[Any]]
    clusters: Clusters | None
    dead = 0
    """Documents that are not alive; inverted lists keep them until the next segment."""
    _dead_documents: Docs = np.empty(0, np.int32)
    _own: frozenset[str] = frozenset()
    """The columns that no copy has."""

    @property
    def postings(self) -> Postings | GrowingPostings:
        """Inverted lists of the terms."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.columns["rows"])

    @property
    def rows(self) -> NDArray[np.int64]:
        """Lance row ids by document."""
        return self.columns["rows"]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Unit vectors by document."""
        return self.columns["vectors"]

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Numbers of terms by document."""
        return self.columns["lengths"]

    @property
    def alive(self) -> NDArray[np.bool_]:
        """False where the memory was deleted or lives on in a later part."""
        return self.columns["alive"]

    def positions(self, row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the document of each row id, or -1."""
        raise NotImplementedError

    def matching(
        self, where: Filter | None, documents: NDArray[np.int64] | slice = slice(None)
    ) -> NDArray[np.bool_]:
        """Return which of the documents (all, by default) are alive and pass the filter."""
        mask = self.alive[documents]
        if where is None:
            return mask
        for name, value in where.values.items():
            condition = CONDITIONS[name]
            mask = mask & PASSED[condition.comparison](self, condition.column, value, documents)
        return mask

    def holding(self, keys: Sequence[int]) -> NDArray[np.bool_]:
        """Return which documents hold any of some keys."""
        mask = np.zeros(len(self), np.bool_)
        for key in keys:
            mask[self.postings.get(key)[0]] = True
        return mask

    def holders(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the living documents that hold any of some keys, ascending, each once.

        The cost grows with how many these are, and not with the documents of the part.
        """
        there = keys[self.postings.lengths(keys) > 0]
        found = [self.postings.get(key)[0] for key in there.tolist()]
        documents = np.unique(np.concatenate([np.empty(0, np.int32), *found])).astype(np.int64)
        return documents[self.alive[documents]]

    def kill(self, documents: NDArray[np.int64]) -> None:
        """Mark documents dead: no answer has them any more. Each must be alive, and named once."""
        self._writable("alive")[documents] = False
        self.dead += len(documents)

    def update(self, documents: NDArray[np.int64], values: dict[str, NDArray[Any]]) -> None:
        """Set the `ATTRIBUTES` of documents; ``values`` has an array for each."""
        for name in ATTRIBUTES:
            if not np.array_equal(self.columns[name][documents], values[name]):
                self._writable(name)[documents] = values[name]

    def _writable(self, name: str) -> NDArray[Any]:
        """Return a column that may be changed: the first time since this part was copied, a copy."""
        if name not in self._own:
            self.columns[name] = self.columns[name].copy()
            self._own |= {name}
        return self.columns[name]

    def gone(self, documents: Docs) -> NDArray[np.int64]:
        """Return the places in an inverted list, of ascending ``documents``, at which the dead are."""
        if self.dead == 0:
            return _NOWHERE
        if self.dead * _FEW > len(documents):
            return np.flatnonzero(~self.alive[documents])
        if len(self._dead_documents) != self.dead:
            self._dead_documents = np.flatnonzero(~self.alive).astype(np.int32)
        at = documents.searchsorted(self._dead_documents)
        at[at == len(documents)] = 0
        found: NDArray[np.int64] = at[documents[at] == self._dead_documents]
        return found

    def frequencies(
        self, terms: NDArray[np.uint64], counted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Return how many living memories hold each term, or how many of those ``counted``."""
        found = self.postings.lengths(terms)
        if counted is not None:
            for place in np.flatnonzero(found).tolist():
                found[place] = np.count_nonzero(counted[self.postings.get(int(terms[place]))[0]])
        elif self.dead:
            for place in np.flatnonzero(found).tolist():
                found[place] -= len(self.gone(self.postings.get(int(terms[place]))[0]))
        return found

    def moments(self, term: int, norm: Norm, counted: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """Return the sum and the sum of squares of a term's impacts over the living documents.

        Or over those ``counted``: bool ``(documents,)``.
        """
        docs, counts = self.postings.get(term)
        if counted is not None:
            keep = counted[docs]
            docs, counts = docs[keep], counts[keep]
        elif len(gone := self.gone(docs)):
            docs, counts = np.delete(docs, gone), np.delete(counts, gone)
        return sums(impacts(norm, self.lengths, docs, counts))


def sums(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the sum and the sum of squares, in float64."""
    exact = values.astype(np.float64)
    # Not by BLAS, whose threads spin for longer than this takes.
    return float(exact.sum()), float(np.square(exact).sum())
