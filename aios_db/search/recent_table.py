"""Values by row id, nearly all of them of the rows that are newest."""

from __future__ import annotations

from copy import copy

import numpy as np

from aios_db.schema.retrieval import RowIds
from aios_db.search.rowtable import RowTable


class RecentTable:
    """A `RowTable` of int64 in which few rows before the ``first`` have a value.

    So the first change of a copy copies what is recent, and no more, unless an older row changes.
    """

    def __init__(self, default: int, first: int) -> None:
        self._first = first
        self._older, self._recent = RowTable(np.int64, default), RowTable(np.int64, default)

    def __getitem__(self, rows: RowIds) -> RowIds:
        """Return the value of each row, in their order."""
        found = self._recent[rows - self._first]
        if len(self._older.values):
            return np.where(rows < self._first, self._older[rows], found)
        return found

    def __setitem__(self, rows: RowIds, values: RowIds) -> None:
        """Set the value of each row; of a row named twice the last one stays."""
        older = rows < self._first
        if older.any():
            self._older[rows[older]] = values[older]
        if not older.all():
            self._recent[rows[~older] - self._first] = values[~older]

    def keys(self) -> RowIds:
        """Return the rows whose value is not the default, ascending."""
        return np.concatenate([self._older.keys(), self._recent.keys() + self._first])

    def copy(self) -> RecentTable:
        """Return a table that later changes to this one do not change, nor the other way round."""
        copied = copy(self)
        copied._older, copied._recent = self._older.copy(), self._recent.copy()
        return copied
