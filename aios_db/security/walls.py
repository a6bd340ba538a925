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


class MemoriesWall:
    """Lets the memories of a scope through, and of their column of links those within it."""

    def __init__(self, scope: Scope, index: Callable[[], Index]) -> None:
        self._scope, self._index = scope, index
        self.columns = tuple(scope.values)

    def visible(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that may be seen."""
        rows = self._scope.seen(rows)
        place = rows.schema.get_field_index(_LINKS)
        if place < 0 or not len(rows):
            return rows
        links = rows.column(place)
        structs, owners = links.flatten(), pc.list_parent_indices(links).to_numpy()
        keep = self._index().find_ids(structs.field("target_id").fill_null("")) >= 0
        counts = np.bincount(owners[keep], minlength=len(rows))
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        kept = pa.ListArray.from_arrays(offsets, structs.filter(pa.array(keep)), mask=pa.array(counts == 0))
        return rows.set_column(place, rows.schema.field(place), kept.cast(links.type))


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
