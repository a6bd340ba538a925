"""The memories written since the last segment, held in memory."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.search.mapped import empty
from aios_db.search.part import COLUMNS, Part
from aios_db.search.postings import GrowingPostings
from aios_db.search.recent_table import RecentTable


class GrowingSegment(Part):
    """A part that grows. A memory that changed is here under its old row id, and dead in the segment.

    Parameters
    ----------
    dimension
        Length of the vectors.
    first
        The row id from which on memories are new, and not those of the segment that have changed.
    """

    def __init__(self, dimension: int, first: int = 0) -> None:
        self.columns = {
            name: np.empty((0, dimension) if name == "vectors" else 0, dtype)
            for name, dtype in COLUMNS.items()
        }
        self._buffers = dict(self.columns)
        self.terms: GrowingPostings = GrowingPostings()
        self.clusters = None
        self._position = RecentTable(-1, first)

    def copy(self) -> GrowingSegment:
        """Return a segment that may be changed, while this one stays as it is from now on.

        Both have the same buffers: the other goes on where this one ends.
        """
        copied = copy(self)
        copied.columns, copied._buffers, copied._own = dict(self.columns), dict(self._buffers), frozenset()
        copied.terms, copied._position = self.terms.copy(), self._position.copy()
        return copied

    @property
    def postings(self) -> GrowingPostings:
        """Inverted lists of the terms."""
        return self.terms

    def positions(self, row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the document of each row id, or -1; the newest when a memory changed twice."""
        return self._position[row_ids]

    def extend(
        self,
        values: dict[str, NDArray[Any]],
        terms: NDArray[np.uint64],
        counts: NDArray[np.int64],
        marks: tuple[NDArray[np.uint64], NDArray[np.int32]],
    ) -> None:
        """Append documents.

        Parameters
        ----------
        values
            By the names of `COLUMNS`, an array of ``(n, ...)`` each.
        terms
            uint64: those of the first document, then of the next, repeated as often as they occur.
        counts
            int64 ``(n,)``: how many terms each document has.
        marks
            As `aios_db.search.marks.marks` returns them.
        """
        start, stop = len(self), len(self) + len(values["rows"])
        for name, column in values.items():
            buffer = self._buffers[name]
            if stop > len(buffer):
                grown = empty((max(stop, 2 * len(buffer), 64), *buffer.shape[1:]), buffer.dtype)
                grown[:start] = buffer[:start]
                buffer = self._buffers[name] = grown
            buffer[start:stop] = column
            self.columns[name] = buffer[:stop]
        documents = np.repeat(np.arange(start, stop, dtype=np.int32), counts)
        keys, rows = marks
        self.terms.extend(np.concatenate([terms, keys]), np.concatenate([documents, rows + np.int32(start)]))
        self._position[values["rows"]] = np.arange(start, stop)

    def _writable(self, name: str) -> NDArray[Any]:
        if name not in self._own:
            self._buffers[name] = super()._writable(name)
        return self.columns[name]
