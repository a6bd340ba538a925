"""Values by row id, for rows of which few or many have one: an array that grows with the highest row id."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds


class RowTable:
    """An array indexed by row id that answers ``default`` beyond its end.

    Parameters
    ----------
    dtype
        Of the values.
    default
        The value of rows that were never set.
    """

    def __init__(self, dtype: npt.DTypeLike, default: Any) -> None:
        self._default = default
        self._values: NDArray[Any] = np.empty(0, dtype)
        self._shared = False

    @property
    def values(self) -> NDArray[Any]:
        """The values by row, as far as any was set."""
        return self._values

    def __getitem__(self, rows: RowIds) -> NDArray[Any]:
        """Return the value of each row, in their order."""
        values = self._values
        if len(values) == 0:
            return np.full(len(rows), self._default, values.dtype)
        inside = (rows >= 0) & (rows < len(values))
        return np.where(inside, values[np.where(inside, rows, 0)], self._default)

    def __setitem__(self, rows: RowIds, value: Any) -> None:
        """Set the value of each row; of a row named twice the last one stays."""
        self._grow(rows)
        self._values[rows] = value

    def add(self, rows: RowIds, values: Any) -> None:
        """Add to the value of each row; a row named twice gets both."""
        self._grow(rows)
        np.add.at(self._values, rows, values)

    def lower(self, rows: RowIds, values: Any) -> None:
        """Lower the value of each row to another one where that is less; named twice, to the least."""
        self._grow(rows)
        np.minimum.at(self._values, rows, values)

    def keys(self) -> RowIds:
        """Return the rows whose value is not the default, ascending."""
        return np.flatnonzero(self._values != self._default)

    def copy(self) -> RowTable:
        """Return a table that later changes to this one do not change, nor the other way round.

        Values are copied by the first change.
        """
        copied = RowTable(self._values.dtype, self._default)
        copied._values, copied._shared, self._shared = self._values, True, True
        return copied

    def _grow(self, rows: RowIds) -> None:
        needed = int(rows.max(initial=-1)) + 1
        if needed > len(self._values):
            grown = np.full(max(needed, len(self._values) * 5 // 4), self._default, self._values.dtype)
            grown[: len(self._values)] = self._values
            self._values, self._shared = grown, False
        elif self._shared:
            self._values, self._shared = self._values.copy(), False
