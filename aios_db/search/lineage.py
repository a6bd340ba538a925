"""What memories were made of, and the trust that they have from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from aios_db.schema.retrieval import RowIds
from aios_db.search.rowtable import RowTable

Find = Callable[[Sequence[str]], RowIds]
"""Returns the row id of each memory_id, -1 for unknown ones."""


class Lineage:
    """The origins of memories, by row id: their ``derived_from``."""

    def __init__(self) -> None:
        self._origins: dict[int, list[str]] = {}

    def put(self, rows: Iterable[int], origins: Iterable[list[str | None] | None]) -> None:
        """Say what memories were made of."""
        for row, names in zip(rows, origins, strict=True):
            if names:
                self._origins[row] = [name or "" for name in names]
            else:
                self._origins.pop(row, None)

    def forget(self, rows: Iterable[int]) -> None:
        """Say that memories are no longer there."""
        for row in rows:
            self._origins.pop(row, None)

    def settle(self, own: RowTable, find: Find) -> tuple[RowIds, RowTable]:
        """Return the memories made of others, and the trust in all.

        That in a memory is the least of its ``own`` and that in what it was made of, which may have been made
        of others. What is no longer there says nothing.
        """
        trust = own.copy()
        made = np.fromiter(self._origins, np.int64, len(self._origins))
        if not len(made):
            return made, trust
        origins = find([name for names in self._origins.values() for name in names])
        children = np.repeat(made, [len(names) for names in self._origins.values()])
        children, origins = children[origins >= 0], origins[origins >= 0]
        while True:  # as often as the longest line is long
            lower = trust[origins] < trust[children]
            if not lower.any():
                return made, trust
            trust.lower(children[lower], trust[origins[lower]])
