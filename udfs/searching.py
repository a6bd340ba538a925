"""Searching in SQL: by vector and by keyword, and the scores of given memories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.directions import directions, why_not
from aios_db.schema.errors import DataError
from aios_db.schema.retrieval import Filter, Hits, RowIds
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.lists import each_row, numbers, texts_of
from aios_db.udfs.memory_filter import FILTER, filters_of, index_of
from aios_db.udfs.searchable import Pinned, Searchable
from aios_db.udfs.types import BIGINT, BOOLEAN, DOUBLES, FLOATS, VARCHAR, VARCHARS

_HIT = [("memory_id", pa.string()), ("score", pa.float64()), ("standard_score", pa.float64())]
_NEAREST = pa.struct([*_HIT, ("keyword_score", pa.float64())])
_MATCHING = pa.struct([*_HIT, ("vector_score", pa.float64())])
MATCHED = pa.struct(
    [("memory_id", pa.string()), ("vector_score", pa.float64()), ("keyword_score", pa.float64())]
)


def unit_vector(store: Searchable, vectors: pa.ListArray) -> pa.ListArray:
    """Return vectors of unit length, null for null."""
    found: list[NDArray[np.float32] | None] = []
    for given in vectors:
        if not given.is_valid:
            found.append(None)
            continue
        values = numbers(given.values, np.float64)
        unit, has_direction = directions(values[np.newaxis])
        if not has_direction[0]:
            raise DataError(f"the vector {why_not(values)}")
        found.append(unit[0])
    return pa.array(found, pa.list_(pa.float32()))


def vector_search(  # noqa: PLR0917 - one argument a column
    store: Searchable,
    vectors: pa.Array,
    counts: pa.Array,
    wheres: pa.StringArray,
    texts: pa.Array,
    by_trust: pa.Array,
) -> pa.Array:
    """Return the nearest memories of each vector, best first, scored by a text too where there is one."""

    def one(vector: pa.Array, k: int, where: Filter, each: bool, text: str | None) -> pa.StructArray:
        index = index_of(store, where).pinned()
        hits = index.vector_search(numbers(vector), k, where, by_trust=each)
        beside = None if text is None else index.keyword_scores(text, hits.row_ids)
        return _hits(index, hits, beside, _NEAREST)

    return each_row(_NEAREST, one, vectors, counts, filters_of(wheres), by_trust, beside=texts)


def keyword_search(  # noqa: PLR0917 - one argument a column
    store: Searchable,
    texts: pa.Array,
    counts: pa.Array,
    wheres: pa.StringArray,
    vectors: pa.Array,
    by_trust: pa.Array,
) -> pa.Array:
    """Return the best memories by BM25 for each text, scored by a vector too where there is one."""

    def one(text: str, k: int, where: Filter, each: bool, vector: pa.Array | None) -> pa.StructArray:
        index = index_of(store, where).pinned()
        hits = index.keyword_search(text, k, where, by_trust=each)
        beside = None if vector is None else index.vector_scores(numbers(vector), hits.row_ids)
        return _hits(index, hits, beside, _MATCHING)

    return each_row(_MATCHING, one, texts, counts, filters_of(wheres), by_trust, beside=vectors)


def score(store: Searchable, vectors: pa.Array, texts: pa.Array, memory_ids: pa.ListArray) -> pa.Array:
    """Return the standardised vector and keyword scores of given memories, unknown ones left out."""

    def one(vector: pa.Array, text: str, ids: pa.Array) -> pa.StructArray:
        index = store.index.pinned()
        rows, _ = known_rows(index, ids)
        return scored(index, rows, text, vector)

    return each_row(MATCHED, one, vectors, texts, memory_ids)


def known_rows(index: Pinned, ids: pa.StringArray) -> tuple[RowIds, pa.StringArray]:
    """Return row ids and memory_ids of those that exist, each once."""
    ids = texts_of(ids)
    rows = index.find_ids(ids)
    distinct, first = np.unique(rows, return_index=True)
    if len(distinct) == len(rows) and distinct[:1].tolist() != [-1]:
        return rows, ids
    first = np.sort(first[distinct >= 0])
    return rows[first], ids.take(pa.array(first))


def _standard(hits: Hits) -> NDArray[np.float64]:
    return (hits.scores.astype(np.float64) - hits.mean) / hits.std


def _hits(index: Pinned, hits: Hits, beside: Hits | None, item: pa.StructType) -> pa.StructArray:
    columns = [
        index.memory_ids(hits.row_ids),
        pa.array(hits.scores.astype(np.float64)),
        pa.array(_standard(hits)),
        pa.nulls(len(hits.row_ids), pa.float64()) if beside is None else pa.array(_standard(beside)),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(item))


def scored(index: Pinned, rows: RowIds, text: str | None, vector: Any) -> pa.StructArray:
    """Return memories with their standardised vector and keyword scores, 0 where one is not asked for."""
    nothing = pa.array(np.zeros(len(rows)))
    columns = [
        index.memory_ids(rows),
        nothing if vector is None else pa.array(_standard(index.vector_scores(numbers(vector), rows))),
        nothing if text is None else pa.array(_standard(index.keyword_scores(text, rows))),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(MATCHED))


FUNCTIONS = (
    ScalarFunction("aios_unit_vector", [DOUBLES], FLOATS, unit_vector, retrieves="unit_vector"),
    ScalarFunction(
        "aios_vector_search",
        [FLOATS, BIGINT, FILTER, VARCHAR, BOOLEAN],
        pa.list_(_NEAREST),
        vector_search,
        retrieves="vector_search",
    ),
    ScalarFunction(
        "aios_keyword_search",
        [VARCHAR, BIGINT, FILTER, FLOATS, BOOLEAN],
        pa.list_(_MATCHING),
        keyword_search,
        retrieves="keyword_search",
    ),
    ScalarFunction(
        "aios_score", [FLOATS, VARCHAR, VARCHARS], pa.list_(MATCHED), score, retrieves="score_memories"
    ),
)
