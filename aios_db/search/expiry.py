"""When memories expire: from that second on they are not found."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds

_US = 1_000_000


class Expiries:
    """The memories of one index that expire; others cost nothing.

    Parameters
    ----------
    now
        Returns the time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at: dict[int, int] = {}
        """By row id, when it expires, in microseconds since 1970."""
        self._coming: list[tuple[int, int]] = []
        self._gone: set[int] = set()

    def __bool__(self) -> bool:
        """Whether any memory has expired."""
        return bool(self._gone)

    def put(self, rows: RowIds, expires_at: pa.Array) -> None:
        """Set when memories expire, a timestamp each; NULL is never."""
        if self._at:
            self.forget(rows.tolist())
        ends = np.flatnonzero(expires_at.is_valid().to_numpy(zero_copy_only=False))
        if len(ends):
            times = pc.take(expires_at, pa.array(ends)).cast(pa.int64()).to_pylist()
            for row, time in zip(rows[ends].tolist(), times, strict=True):
                self._at[row] = time
                heapq.heappush(self._coming, (time, row))
            self.due()

    def forget(self, rows: Sequence[int]) -> None:
        """Take memories out."""
        for row in rows:
            self._at.pop(row, None)
            self._gone.discard(row)

    def due(self) -> list[int]:
        """Return the memories that have expired since this was asked last."""
        found = []
        while self._coming and self._coming[0][0] <= self._now() * _US:
            time, row = heapq.heappop(self._coming)
            if self._at.get(row) == time and row not in self._gone:
                self._gone.add(row)
                found.append(row)
        return found

    def among(self, rows: RowIds) -> NDArray[np.bool_]:
        """Tell which memories have expired."""
        if not self._gone:
            return np.zeros(len(rows), np.bool_)
        return np.fromiter((row in self._gone for row in rows.tolist()), np.bool_, len(rows))
