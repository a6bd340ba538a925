"""How far memories are trusted, in which class of trust that puts them, and which are held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.current import Seen


class Trusting:
    """What `Standing` found of the memories, at the time of asking."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def trust(self, row_ids: RowIds) -> NDArray[np.float32]:
        """Return the trust in each memory, as it is now, 1 for unknown ones."""
        view, stand = self._seen.looked()
        return np.where(view.documents.passes(row_ids), stand.trust(row_ids), np.float32(1))

    def held(self) -> dict[str, str]:
        """Return the memory_ids of what is held in quarantine, with the reason, in the order of storing."""
        view, stand = self._seen.looked()
        reasons = stand.reasons
        rows = np.sort(np.fromiter(reasons, np.int64))
        rows = rows[view.documents.passes(rows)]
        names = [name.decode() for name in view.documents.column("ids", rows).tolist()]
        return {name: reasons[row] for name, row in zip(names, rows.tolist(), strict=True)}

    def classes(self, row_ids: RowIds) -> NDArray[np.uint8]:
        """Return the class of trust that each memory is in, a place among those of `levels`."""
        _, stand = self._seen.looked()
        return stand.of(row_ids)

    def has_below(self, number: int) -> bool:
        """Tell whether any memory is in a class of trust below one."""
        _, stand = self._seen.looked()
        return stand.has_below(number)

    def seen_from(self, where: Filter, number: int) -> Filter:
        """Return a filter that leaves out what is of a class of trust below one."""
        _, stand = self._seen.looked()
        return stand.seen_from(where, number)
