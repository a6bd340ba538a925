"""What the views of a connection with a scope leave out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.retrieval import RowIds
from aios_db.security.scope import Scope

_LINKS = "association_links"


class Index(Protocol):
    """A search index that knows the memories of the scope only."""

    def find_ids(self, memory_ids: Sequence[str] | pa.StringArray) -> RowIds:
        """Return row ids, -1 for unknown."""
        ...


Strongest = Callable[[pa.StringArray, Callable[[pa.StringArray], pa.BooleanArray]], pa.ListArray]
"""Returns the column of links of some memories, given their ids and which other ends count."""


class MemoriesWall:
    """Lets the memories of a scope through, and of their column of links those within it.

    A column that names others is chosen anew, as if their links were not there.
    """

    def __init__(self, scope: Scope, index: Callable[[], Index], strongest: Strongest) -> None:
        self._scope, self._index, self._strongest = scope, index, strongest
        self.columns = (*scope.values, "memory_id")

    def visible(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that may be seen."""
        rows = self._scope.seen(rows)
        place = rows.schema.get_field_index(_LINKS)
        if place < 0 or not len(rows):
            return rows
        links = rows.column(place)
        others = pc.invert(self._seen(links.flatten().field("target_id")))
        mixed = pc.is_in(pa.array(np.arange(len(rows))), pc.list_parent_indices(links).filter(others))
        own = self._strongest(rows.column("memory_id").filter(mixed), self._seen).cast(links.type)
        places = np.arange(len(rows))
        places[mixed.to_numpy(zero_copy_only=False)] = len(rows) + np.arange(len(own))
        chosen = pa.concat_arrays([links, own]).take(pa.array(places))
        return rows.set_column(place, rows.schema.field(place), chosen)

    def _seen(self, memory_ids: pa.StringArray) -> pa.BooleanArray:
        return pa.array(self._index().find_ids(memory_ids) >= 0)


class ScopeWall:
    """Lets the rows of a scope through, by the columns that say whose they are."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.columns = tuple(scope.values)

    def visible(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that may be seen."""
        return self._scope.seen(rows)


class LinksWall:
    """Lets the links through of which both ends are in the scope."""

    columns = ("source_id", "target_id")

    def __init__(self, index: Callable[[], Index]) -> None:
        self._index = index

    def visible(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that may be seen."""
        ends = (self._index().find_ids(rows[name]) >= 0 for name in self.columns)
        return rows.filter(pa.array(np.logical_and(*ends)))
