"""The documents of a segment and of what came since, by the row ids of their memories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.growing import GrowingSegment
from aios_db.search.part import COLUMNS, Part
from aios_db.search.segment import Segment


class Documents:
    """Which memories there are, and the columns of each.

    Parameters
    ----------
    segment
        What was saved.
    growing
        What came since; a memory that changed is here, and dead in the segment.
    """

    def __init__(self, segment: Segment, growing: GrowingSegment) -> None:
        self.segment, self.growing = segment, growing

    def copy(self) -> Documents:
        """Return documents that may be changed, while these stay as they are from now on."""
        return Documents(self.segment.copy(), self.growing.copy())

    @property
    def parts(self) -> tuple[Part, ...]:
        """The segment and what came since."""
        return (self.segment, self.growing) if len(self.growing) else (self.segment,)

    def living(self, rows: RowIds) -> RowIds:
        """Return the row ids, -1 in the place of those of which there is no memory."""
        return np.where(self.passes(rows), rows, -1)

    def passes(self, rows: RowIds, where: Filter | None = None) -> NDArray[np.bool_]:
        """Tell which memories are there and pass a filter."""
        passed = np.zeros(len(rows), np.bool_)
        for part, at, inside in self.living_in_parts(rows):
            passed[inside] = part.matching(where, at)
        return passed

    def living_in_parts(self, rows: RowIds) -> Iterator[tuple[Part, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each part with the documents in it that are alive, and their places in ``rows``."""
        for part in self.parts:
            at = part.positions(rows)
            inside = np.flatnonzero(at >= 0)
            inside = inside[part.alive[at[inside]]]
            if len(inside):
                yield part, at[inside], inside

    def have_vector(self, rows: RowIds) -> NDArray[np.bool_]:
        """Tell which living memories have a vector of their text."""
        found = np.zeros(len(rows), np.bool_)
        for part, at, inside in self.living_in_parts(rows):
            found[inside] = part.vectors[at].any(axis=1)
        return found

    def first_passing(self, rows: RowIds, count: int, where: Filter) -> RowIds:
        """Return the first ``count`` of ``rows`` that pass, in their order; less where there are less."""
        passing, size = rows[:0], 4 * count
        while len(passing) < count and len(rows):
            some, rows, size = rows[:size], rows[size:], 2 * size
            passing = np.concatenate([passing, some[self.passes(some, where)]])
        return passing[:count]

    def has_known(self, rows: RowIds) -> NDArray[np.bool_]:
        """Tell which rows were ever put: of a memory that lives, or of one that was deleted since."""
        known = np.zeros(len(rows), np.bool_)
        for part in self.parts:
            known |= part.positions(rows) >= 0
        return known

    def all_rows(self) -> RowIds:
        """Return the row ids of all memories."""
        return np.concatenate([part.rows[part.alive] for part in self.parts])

    def column(self, name: str, rows: RowIds) -> NDArray[Any]:
        """Return a column's value of each row, 0 of unknown ones."""
        at = self.segment.positions(rows)
        if (at >= 0).all() and not len(self.growing):
            return self.segment.columns[name][at]
        values = np.zeros(len(rows), COLUMNS[name])
        for part in self.parts:
            at = part.positions(rows)
            inside = np.flatnonzero(at >= 0)
            values[inside] = part.columns[name][at[inside]]
        return values
