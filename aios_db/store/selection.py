"""Which memories to forget, erase or get: by their ids, by scope, source, name or time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import TIMESTAMP
from aios_db.search.index import SearchIndex

_EQUAL = ("user_id", "agent_id", "session_id", "external_id", "source")


@dataclass(frozen=True)
class Selection:
    """Conditions that all must hold; None does not restrict."""

    memory_ids: Sequence[str] | None = None
    user_id: Sequence[str] | None = None
    """One of these, as for the columns that follow."""
    agent_id: Sequence[str] | None = None
    session_id: Sequence[str] | None = None
    external_id: Sequence[str] | None = None
    source: Sequence[str] | None = None
    before: datetime | None = None
    """It happened, or where that is not known was stored, before this moment."""

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) is not None for each in fields(self))

    def rows(self, memories: lance.LanceDataset, index: SearchIndex) -> NDArray[np.int64]:
        """Return the row ids of the memories that are selected, ascending; the two are level."""
        condition = self._condition()
        if self.memory_ids is None:
            found = memories.to_table(columns=[], filter=condition, with_row_id=True)["_rowid"]
            rows = np.sort(found.to_numpy().astype(np.int64))
            return rows[index.living(rows)]  # it may know a part of them only
        rows = np.unique(index.find_ids(list(self.memory_ids)))
        rows = rows[rows >= 0]
        if condition is None or not len(rows):
            return rows
        columns = [*_EQUAL, "occurred_at", "created_at", "_rowid"]
        named = memories._take_rows(rows.tolist(), columns=columns).filter(condition)
        return np.sort(named["_rowid"].to_numpy().astype(np.int64))

    def _condition(self) -> pc.Expression | None:
        conditions = [
            pc.field(name).isin(pa.array(getattr(self, name), pa.string()))
            for name in _EQUAL
            if getattr(self, name) is not None
        ]
        if self.before is not None:
            moment = pa.scalar(self.before, TIMESTAMP)
            happened, stored = pc.field("occurred_at"), pc.field("created_at")
            conditions.append((happened < moment) | (happened.is_null() & (stored < moment)))
        together = None
        for each in conditions:
            together = each if together is None else together & each
        return together
