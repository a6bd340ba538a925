"""Trust in SQL: what is held in quarantine, and which of a ranking's memories one source may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.memories import returned_schema
from aios_db.schema.retrieval import Filter, RowIds
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.lists import for_each
from aios_db.udfs.types import BIGINT, BIGINTS, VARCHAR, VARCHARS


class Index(Protocol):
    """What is asked of the search index."""

    def find_ids(self, memory_ids: pa.StringArray) -> RowIds:
        """Return row ids, -1 for unknown."""
        ...

    def trust(self, row_ids: RowIds) -> NDArray[np.float32]:
        """Return the trust in memories."""
        ...

    def held(self) -> Mapping[str, str]:
        """Return the memory_ids of what is held, with the reason."""
        ...

    def memories(
        self, memory_ids: Sequence[str] | pa.StringArray
    ) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        """Return which memories are there, and of those the columns of `returned_schema`."""
        ...

    def owners(self, row_ids: RowIds, column: str) -> NDArray[np.uint64]:
        """Return a key of a column's value, 0 where there is none."""
        ...


class Searchable(Protocol):
    """A store with a search index."""

    @property
    def index(self) -> Index:
        """The index over the current snapshot."""
        ...

    @property
    def source_share(self) -> float:
        """Share of an answer that one source may have that is not trusted fully."""
        ...


_COLUMNS = ("source", "trust", "title", "text", "user_id", "agent_id", "created_at")
_HELD = pa.struct(
    [
        ("memory_id", pa.string()),
        ("reason", pa.string()),
        *(returned_schema().field(name) for name in _COLUMNS),
    ]
)


def quarantined_rows(store: Searchable) -> pa.Table:
    """Return what is held in quarantine, in the order of storing."""
    held = store.index.held()
    known, rows = store.index.memories(list(held))
    reasons = pa.array(list(held.values()), pa.string()).filter(pa.array(known))
    columns = [rows["memory_id"], reasons, *(rows[name] for name in _COLUMNS)]
    return pa.table(columns, names=[each.name for each in _HELD])


def quarantined(store: Searchable, rows: pa.Array) -> pa.Array:
    """Return what is held in quarantine, for each row."""
    return for_each(rows, quarantined_rows(store).to_struct_array().combine_chunks().cast(_HELD))


def places(store: Searchable, rankings: pa.ListArray, counts: pa.Array, wheres: pa.StringArray) -> pa.Array:
    """Return the places, from 1, of the first memories of each ranking that no source has too many of.

    Where the filter asks for sources, nobody's share is limited.
    """
    found: list[list[int] | None] = []
    for ranking, count, where in zip(rankings, counts.to_pylist(), wheres.to_pylist(), strict=True):
        if not ranking.is_valid or count is None:
            found.append(None)
            continue
        if "source" in Filter.parse(where or "").values:
            found.append(list(range(1, min(count, len(ranking.values)) + 1)))
            continue
        rows = store.index.find_ids(ranking.values)
        limited = (store.index.trust(rows) < 1).tolist()
        sources = store.index.owners(rows, "source").tolist()
        most = max(1, int(store.source_share * count))
        found.append(_chosen(sources, limited, count, most))
    return pa.array(found, pa.list_(pa.int64()))


def _chosen(sources: list[int], limited: list[bool], count: int, most: int) -> list[int]:
    taken: dict[int, int] = {}
    chosen: list[int] = []
    for place, (source, is_limited) in enumerate(zip(sources, limited, strict=True), start=1):
        if len(chosen) == count:
            break
        if is_limited:
            if taken.get(source, 0) == most:
                continue
            taken[source] = taken.get(source, 0) + 1
        chosen.append(place)
    return chosen


FUNCTIONS = (
    ScalarFunction("aios_places", [VARCHARS, BIGINT, VARCHAR], BIGINTS, places),
    ScalarFunction("aios_quarantined", [VARCHAR], pa.list_(_HELD), quarantined),
)
