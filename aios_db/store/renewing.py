"""What memories become: new ones, and those that are remembered again."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import TIMESTAMP, WRITABLE
from aios_db.store.attribution import CONTENT, Repeated, inheriting, with_source
from aios_db.store.changes import Change
from aios_db.store.guarding import is_named
from aios_db.store.known import become, chosen
from aios_db.store.pending import count_accesses
from aios_db.store.rows import complete
from aios_db.store.snapshot import Snapshot
from aios_db.store.turns import external_keys, fold_again, with_external

_STAYING = ("memory_id", "created_at", "association_links")
"""What a memory keeps that is said again by who is trusted more: all else becomes what a new one has."""


def new_rows(now: Snapshot, rows: pa.Table, ids: list[str], given: NDArray[np.int64], entry: str) -> pa.Table:
    """Return rows as they are stored when nobody said them before."""
    rows = inheriting(with_source(rows, entry), now.index)
    hashes = with_external(rows["content_hash"].to_pylist(), external_keys(rows))
    rows = with_columns(rows, content_hash=pa.array(hashes, pa.string()))
    return complete(rows, ids, given - 1, now.memories.schema)


def renewed(
    now: Snapshot,
    again: pa.Table,
    rows: NDArray[np.int64],
    repeated: Repeated,
    given: NDArray[np.int64],
    *,
    append: bool,
    entry: str,
) -> tuple[list[str], Change]:
    """Return the ids of memories that are remembered again, and what changes of them."""
    replaced = is_named(again)
    fold = "times" in again.column_names
    outdone = bool(repeated.outdone.any())
    said, again = again, inheriting(again, now.index)
    names = [name for name in WRITABLE if again[name].null_count < len(again) and name not in CONTENT]
    if replaced.any() or "media_type" in names:
        names = [*WRITABLE, "modalities"]
    if replaced.any():
        names += ["joint_embedding", "joint_hubness", "joint_weight_version"]
    if "text_embedding" in names:
        names.append("text_weight_version")
    if fold:
        names = [*dict.fromkeys([*names, "occurred_at"]), "times", "occurrences"]
    if outdone:
        names = [name for name in now.memories.schema.names if name not in _STAYING]
    read = [
        *dict.fromkeys(["memory_id", "expires_at", "content_hash", "access_count", "last_access_at", *names])
    ]
    stored = now.memories._take_rows(rows.tolist(), columns=read)
    ids = stored["memory_id"].to_pylist()
    columns = become(stored, again, again["content_hash"].to_pylist(), replaced)
    if fold:
        columns |= fold_again(stored, again, append=append)
    columns["expires_at"] = _revived(stored, again)
    kept = pa.array(repeated.kept)
    columns = {name: chosen(_one(stored[name]), each, kept) for name, each in columns.items()}
    counts = {name: _one(each) for name, each in count_accesses(stored, np.where(replaced, 0, given)).items()}
    if outdone:
        new, anew = new_rows(now, said, ids, given, entry), pa.array(repeated.outdone)
        for name in names:
            of = counts if name in counts else columns
            of[name] = chosen(_one(new[name]), of.get(name, _one(stored[name])), anew)
    return ids, Change.between(rows, stored, columns, counts)


def _revived(stored: pa.Table, again: pa.Table) -> pa.Array:
    """Return when memories expire that are said again: what had expired has not, unless that is said."""
    old, new = _one(stored["expires_at"]), _one(again["expires_at"])
    now = pa.scalar(datetime.now(timezone.utc), TIMESTAMP)
    lasting = pc.if_else(pc.fill_null(pc.less_equal(old, now), False), pa.scalar(None, TIMESTAMP), old)
    return pc.coalesce(new, lasting)


def with_columns(table: pa.Table, **columns: pa.Array) -> pa.Table:
    """Return the table with these columns, new ones or in the place of old ones."""
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.schema.get_field_index(name), name, values)
        else:
            table = table.append_column(name, values)
    return table


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
