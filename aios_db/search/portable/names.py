"""A small cache from memory_id to row id."""

from __future__ import annotations

from itertools import repeat

import numpy as np
import pyarrow as pa

from aios_db.schema.retrieval import RowIds

_MOST = 8192


class Names:
    """The memory_ids last named by searches, which the next step of `recall` looks up.

    It may forget any of them at any time.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()

    def put(self, names: pa.StringArray, rows: RowIds) -> None:
        """Remember the row id of each of some memory_ids."""
        if len(self._rows) > _MOST:
            self._rows.clear()
        self._rows.update(zip(names.to_pylist(), rows.tolist(), strict=True))

    def find(self, names: pa.StringArray) -> RowIds:
        """Return int64 ``(len(names),)``: the row id of each, or -1 where it is not known, as of null."""
        return np.fromiter(map(self._rows.get, names.to_pylist(), repeat(-1)), np.int64, len(names))
