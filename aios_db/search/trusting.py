"""How far memories are trusted, in which class of trust that puts them, and which are held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.current import Current


class Trusting:
    """What `Standing` found of the memories, at the time of asking."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def trust(self, row_ids: RowIds) -> NDArray[np.float32]:
        """Return the trust in each memory, as it is now, 1 for unknown ones."""
        with self._current.lock:
            view = self._current.view
            trust = view.look().trust(row_ids)
            return np.where(view.documents.passes(row_ids), trust, np.float32(1))

    def held(self) -> dict[str, str]:
        """Return the memory_ids of what is held in quarantine, with the reason, in the order of storing."""
        with self._current.lock:
            view = self._current.view
            reasons = view.look().held()
            rows = np.sort(np.fromiter(reasons, np.int64))
            rows = rows[view.documents.passes(rows)]
            names = [name.decode() for name in view.documents.column("ids", rows).tolist()]
            return {name: reasons[row] for name, row in zip(names, rows.tolist(), strict=True)}

    def classes(self, row_ids: RowIds) -> NDArray[np.uint8]:
        """Return the class of trust that each memory is in, a place among those of `levels`."""
        with self._current.lock:
            return self._current.view.look().of(row_ids)

    def has_below(self, number: int) -> bool:
        """Tell whether any memory is in a class of trust below one."""
        with self._current.lock:
            return self._current.view.look().classes.has_below(number)
