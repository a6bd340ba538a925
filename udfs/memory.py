"""`remember`, `forget` and `link`: writing memories from SQL, one commit a batch."""

from __future__ import annotations

import pyarrow as pa

from aios_db.schema.errors import DataError
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.protocols import MemoryWriter

_MEMORY = """STRUCT(
    text VARCHAR, title VARCHAR, kind VARCHAR, session_id VARCHAR, agent_id VARCHAR, user_id VARCHAR,
    speaker VARCHAR, occurred_at TIMESTAMPTZ, tier VARCHAR, importance FLOAT, source VARCHAR, metadata VARCHAR
)"""


def remember(store: MemoryWriter, rows: pa.StructArray) -> pa.Array:
    """Store a batch of memories in one commit and return their ids."""
    columns = dict(zip(rows.type.names, rows.flatten(), strict=True))
    if columns["text"].null_count:
        raise DataError("remember: the text is NULL; give the memory's content")
    given = {name: column for name, column in columns.items() if column.null_count < len(column)}
    return pa.array(store.remember(pa.table(given)), type=pa.string())


def forget(store: MemoryWriter, memory_ids: pa.Array) -> pa.Array:
    """Delete a batch of memories; true for each that existed."""
    ids = memory_ids.to_pylist()
    return pa.array([None if each is None else store.forget([each]) > 0 for each in ids], type=pa.bool_())


def link(
    store: MemoryWriter, sources: pa.Array, targets: pa.Array, kinds: pa.Array, weights: pa.Array
) -> pa.Array:
    """Insert or strengthen a batch of links in one commit."""
    columns = {"source_id": sources, "target_id": targets, "kind": kinds, "weight": weights}
    for name, column in columns.items():
        if column.null_count:
            raise DataError(f"link: {name} is NULL; a link needs both ends, a kind and a weight")
    store.link(pa.table(columns))
    return pa.array([True] * len(sources), type=pa.bool_())


FUNCTIONS = (
    ScalarFunction("aios_remember", [_MEMORY], "VARCHAR", remember),
    ScalarFunction("aios_forget", ["VARCHAR"], "BOOLEAN", forget),
    ScalarFunction("aios_link", ["VARCHAR", "VARCHAR", "VARCHAR", "FLOAT"], "BOOLEAN", link),
)
