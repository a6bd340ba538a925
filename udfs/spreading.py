"""Links in SQL: scores that flow along them, and the neighbours of a memory."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIMESTAMP
from aios_db.schema.retrieval import Filter, RowIds
from aios_db.schema.trust import ceilings
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.lists import each_row, none_of, numbers, texts_of
from aios_db.udfs.memory_filter import FILTER, filters_of, index_of
from aios_db.udfs.searchable import Searchable
from aios_db.udfs.types import BIGINT, DOUBLES, INTEGER, VARCHAR, VARCHARS

_REACHED = pa.struct(
    [
        ("memory_id", pa.string()),
        ("graph_score", pa.float64()),
        ("distance", pa.int32()),
        ("happened_at", TIMESTAMP),
        ("age", pa.float64()),
        ("given", pa.int32()),
        ("ceiling", pa.float64()),
        ("archived", pa.bool_()),
        ("principle", pa.bool_()),
        ("superseded", pa.bool_()),
    ]
)
_NEIGHBOR = pa.struct([("memory_id", pa.string()), ("distance", pa.int32())])


def spread(  # noqa: PLR0917 - one argument a column
    store: Searchable,
    memory_ids: pa.ListArray,
    scores: pa.ListArray,
    hops: pa.Array,
    wheres: pa.StringArray,
    most: pa.Array,
) -> pa.Array:
    """Return the memories given or reached over links, and the score that arrived there.

    A ``most`` of 0 and above limits those that were not given.
    """

    def one(ids: pa.Array, seeds: pa.Array, links: int, where: Filter, limit: int) -> pa.StructArray:
        if len(ids) != len(seeds):
            raise DataError(f"spread: {len(ids)} ids and {len(seeds)} scores; give one score an id")
        index = index_of(store, where).pinned()
        rows = index.find_ids(texts_of(ids))
        rows, first = np.unique(rows, return_index=True)
        rows, first = rows[rows >= 0], first[rows >= 0]
        activation = np.nan_to_num(numbers(seeds, np.float64)[first])
        limited = limit if limit >= 0 else None
        reached, arrived, distances = index.spread(rows, activation, links, where, limited)
        times = index.times(reached)
        columns = [
            index.memory_ids(reached),
            pa.array(arrived),
            pa.array(distances, pa.int32()),
            pa.array(times).cast(TIMESTAMP),
            pa.array(time.time() - times / 1e6),
            _places(first, rows, reached),
            pa.array(ceilings(index.trust(reached))),
            pa.array(index.has(reached, "tier", "archived")),
            pa.array(index.has(reached, "kind", "principle")),
            pa.array(index.ends(reached) <= _looked_at(where)),
        ]
        return pa.StructArray.from_arrays(columns, fields=list(_REACHED))

    return each_row(_REACHED, one, memory_ids, scores, hops, filters_of(wheres), most)


def _looked_at(where: Filter) -> int:
    """Return the time that a question is about, in microseconds: now, or when it looks back to."""
    given = (where.values.get(name) for name in ("valid_at", "as_of"))
    return next((each for each in given if each is not None), time.time_ns() // 1000)


def _places(first: NDArray[np.int64], given: RowIds, rows: RowIds) -> pa.Array:
    """Return where each of ``rows`` is among those given, from 1, NULL when it is not.

    ``given`` is ascending, and ``first`` the place of each, from 0.
    """
    at = np.searchsorted(given, rows).clip(max=len(given) - 1)
    return pa.array((first[at] + 1).astype(np.int32), mask=given[at] != rows)


def neighbors(store: Searchable, memory_ids: pa.Array, hops: pa.Array) -> pa.Array:
    """Return the memories up to some links away, nearest first."""
    store.require("association_links")

    def one(memory_id: str, links: int) -> pa.StructArray:
        index = store.index.pinned()
        (row,) = index.find_ids([memory_id]).tolist()
        if row < 0:
            return none_of(_NEIGHBOR)
        found, distances = index.neighbors(row, links)
        columns = [index.memory_ids(found), pa.array(distances, pa.int32())]
        return pa.StructArray.from_arrays(columns, fields=list(_NEIGHBOR))

    return each_row(_NEIGHBOR, one, memory_ids, hops)


FUNCTIONS = (
    ScalarFunction(
        "aios_spread",
        [VARCHARS, DOUBLES, INTEGER, FILTER, BIGINT],
        pa.list_(_REACHED),
        spread,
        retrieves="spread",
    ),
    ScalarFunction(
        "aios_neighbors", [VARCHAR, INTEGER], pa.list_(_NEIGHBOR), neighbors, retrieves="neighbors"
    ),
)
