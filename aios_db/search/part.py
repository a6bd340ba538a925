"""A set of indexed memories: columns by document number, inverted lists, and perhaps clusters of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter
from aios_db.search.postings import Counts, Docs, GrowingPostings, Postings
from aios_db.search.ranking import digest64
from aios_db.search.vectors import Clusters

COLUMNS: dict[str, npt.DTypeLike] = {
    "rows": np.int64,  # Lance row id
    "ids": np.dtype("S36"),  # memory_id, a UUID
    "vectors": np.float32,  # (n, dimension), unit rows, zeros where there is no vector
    "lengths": np.int32,  # terms of the text, stop words left out
    "alive": np.bool_,
    "contents": np.uint64,  # hash of what the columns above were made from
    "times": np.int64,  # microseconds since 1970: occurred_at, or created_at
    "session_id": np.uint64,  # hashes, 0 for a missing value
    "agent_id": np.uint64,
    "user_id": np.uint64,
    "tier": np.uint64,
}
EQUALITIES = ("session_id", "agent_id", "user_id", "tier")


Impacts = Callable[["Part", Docs, Counts], NDArray[np.float32]]


class Part:
    """Documents numbered from 0. `Segment` maps them from files, `Tail` grows in memory."""

    columns: dict[str, NDArray[Any]]
    clusters: Clusters | None

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
        for name in EQUALITIES:
            value = getattr(where, name)
            if value is not None:
                mask = mask & (self.columns[name][documents] == np.uint64(digest64(value)))
        if where.since is not None:
            mask = mask & (self.columns["times"][documents] >= where.since)
        if where.until is not None:
            mask = mask & (self.columns["times"][documents] < where.until)
        return mask

    def moments(self, term: int, impacts: Impacts) -> tuple[float, float]:
        """Return the sum and the sum of squares of a term's impacts over the documents."""
        values = impacts(self, *self.postings.get(term))
        return float(values.sum(dtype=np.float64)), float(np.square(values).sum(dtype=np.float64))
