"""Rows of memories in SQL: by their ids, as what a question recalls, and as they were."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa

from aios_db.schema.deadlines import check
from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIMESTAMP, returned_schema
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.lists import each_row, for_each, lists, none_of, texts_of
from aios_db.udfs.memory_filter import FILTER, filters_of, index_of
from aios_db.udfs.searchable import Searchable
from aios_db.udfs.searching import known_rows
from aios_db.udfs.types import BIGINT, BIGINTS, VARCHAR, VARCHARS

_MEMORY = pa.struct(list(returned_schema()))
_NAMES = returned_schema().names
_VERSION = pa.struct([("version", pa.int64()), ("written_at", TIMESTAMP)])


def memories_by_id(store: Searchable, memory_ids: pa.ListArray) -> pa.Array:
    """Return the rows of given memories, unknown ones left out."""

    def one(ids: pa.Array) -> pa.StructArray:
        index = store.index.pinned()
        _, known = known_rows(index, ids)
        _, found = index.memories(known)
        return _struct(found)

    return each_row(_MEMORY, one, memory_ids)


def recalled(store: Searchable, texts: pa.Array, memory_ids: pa.Array, wheres: pa.StringArray) -> pa.Array:
    """Return the row of each memory, and note that those that answer one text were recalled together.

    One that was forgotten meanwhile is NULL. To look back is not to recall: nothing is noted then.
    """
    filters = filters_of(wheres)
    times = [where.values.get("as_of") for where in filters]
    if len(set(times)) > 1:
        pieces = [
            recalled(store, *(column.slice(row, 1) for column in (texts, memory_ids, wheres)))
            for row in range(len(times))
        ]
        return pa.concat_arrays(pieces)
    began = time.perf_counter()
    memory_ids = texts_of(memory_ids)
    known, found = (index_of(store, filters[0]) if filters else store.index).memories(memory_ids)
    together: dict[str | None, list[str]] = {}
    for text, name, is_known in zip(texts.to_pylist(), memory_ids.to_pylist(), known.tolist(), strict=True):
        if is_known:
            together.setdefault(text, []).append(name)
    for text, each in together.items() if not any(times) else ():
        check()
        store.touch(each)
        if text is not None:  # a picture or a sound asked, which is not kept
            store.asked(text, filters[0].text(), each)
    asked = texts[0].as_py() if len(texts) else ""
    store.searched(began, len(found), asked or "")
    rows = _struct(found)
    return rows if known.all() else rows.take(pa.array(np.cumsum(known) - 1, mask=~known))


def memories_at(store: Searchable, points: pa.Array) -> pa.Array:
    """Return all memories of a version, or of a moment in microseconds: a list of both, one of them NULL."""
    found = []
    for version, moment in points.to_pylist():
        check()
        if version is None and moment is None:
            raise DataError("memories_at: give the number of a version, or a time in ISO 8601")
        rows = store.history.memories(version, moment).select(_NAMES).combine_chunks()
        found.append(rows.to_struct_array().combine_chunks().cast(_MEMORY) if len(rows) else none_of(_MEMORY))
    return lists(found, _MEMORY)


def memory_versions(store: Searchable, rows: pa.Array) -> pa.Array:
    """Return the versions of the memories that are kept, for each row."""
    return for_each(rows, store.history.versions().to_struct_array().combine_chunks().cast(_VERSION))


def _struct(rows: pa.RecordBatch) -> pa.StructArray:
    return pa.StructArray.from_arrays(rows.columns, fields=list(_MEMORY))


FUNCTIONS = (
    ScalarFunction(
        "aios_memories", [VARCHARS], pa.list_(_MEMORY), memories_by_id, retrieves="memories_by_id"
    ),
    ScalarFunction("aios_recalled", [VARCHAR, VARCHAR, FILTER], _MEMORY, recalled, retrieves="recall"),
    ScalarFunction("aios_memories_at", [BIGINTS], pa.list_(_MEMORY), memories_at, retrieves="memories_at"),
    ScalarFunction(
        "aios_memory_versions", [BIGINT], pa.list_(_VERSION), memory_versions, retrieves="memory_versions"
    ),
)
