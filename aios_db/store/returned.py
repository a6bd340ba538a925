"""Rows that a database returned, given to `remember` again: what the store fills in is left out.

A row is one of these when it has both a ``memory_id`` and a ``created_at``, as `Memory`, `Recollection` and
``SELECT * FROM memories`` have. It is remembered as new content, under an id of this database.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

import pyarrow as pa

from aios_db.schema.memories import KEY, WRITABLE, memories_schema

_MARKS = frozenset({KEY, "created_at"})
_SCORES = ("score", "vector_score", "keyword_score", "graph_score", "recency_score", "hops")
_VECTOR, _MADE_BY = "text_embedding", "text_weight_version"
FILLED = frozenset({*memories_schema(1).names, *_SCORES}.difference(WRITABLE))


def given_again(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row without what the store fills in; a vector that a model made is made anew."""
    if not row.keys() >= _MARKS:
        return row
    left_out = {*FILLED, _VECTOR} if isinstance(row.get(_MADE_BY), str) else FILLED
    return {
        name: value
        for name, value in row.items()
        if name not in left_out and not (isinstance(value, float) and isnan(value))  # a gap in a data frame
    }


def frame_given_again(frame: Any) -> Any:
    """Return a data frame of pandas without what the store fills in, as `given_again`."""
    if not _MARKS.issubset(frame.columns):
        return frame
    if _VECTOR in frame.columns and _MADE_BY in frame.columns:
        both = zip(frame[_VECTOR], frame[_MADE_BY], strict=True)
        given = [None if isinstance(made, str) else vector for vector, made in both]
        frame = frame.assign(**{_VECTOR: given})
    return frame.drop(columns=[name for name in frame.columns if name in FILLED])


def table_given_again(table: pa.Table) -> pa.Table:
    """Return an Arrow table without what the store fills in, as `given_again`."""
    if not _MARKS.issubset(table.column_names):
        return table
    if _VECTOR in table.column_names and _MADE_BY in table.column_names:
        place = table.column_names.index(_VECTOR)
        rows = [None if made else row for row, made in enumerate(table[_MADE_BY].is_valid().to_pylist())]
        vectors = table[_VECTOR].combine_chunks().take(pa.array(rows, pa.int64()))
        table = table.set_column(place, _VECTOR, vectors)
    return table.drop_columns([name for name in table.column_names if name in FILLED])
