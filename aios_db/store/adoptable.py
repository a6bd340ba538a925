"""What memories and links of another database must be to be taken in as they are."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema import association_links, memories
from aios_db.schema.errors import DataError
from aios_db.schema.identity import HEX
from aios_db.schema.vectors import unit_vectors
from aios_db.store.rows import check_values, derive

_OFF = 1e-3  # greatest distance of a vector's length from 1


def adoptable(rows: pa.Table) -> pa.Table:
    """Return what `checked` does, without vectors of another content.

    Where the content is no longer that of the hash, or a vector no longer of length 1, the vector is not of
    this text: it is NULL in the result.

    Parameters
    ----------
    rows
        As for `Adopting.adopt`.

    Raises
    ------
    DataError
        A value that no memory has, or a changed content whose vector its owner gave, with the row's number.
    """
    columns, changed = _made_anew(rows)
    return pa.table(_of_unit_length(_with_true_vectors(columns, changed)))


def checked(rows: pa.Table) -> pa.Table:
    """Return rows with what follows from them made anew, or refuse what no memory can be."""
    columns, _ = _made_anew(rows)
    return pa.table(_of_unit_length(columns))


def _made_anew(rows: pa.Table) -> tuple[dict[str, pa.Array], NDArray[np.bool_]]:
    """Return columns, and which rows had another content than their hash says."""
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    required = [each.name for each in memories.memories_schema(1) if not each.nullable]
    for name in required:
        if columns[name].null_count:
            raise DataError(f"row {columns[name].is_null().index(True).as_py()}: {name} is missing")
    check_values(columns)
    for number, name in enumerate(columns["memory_id"].to_pylist()):
        try:
            same = str(UUID(name)) == name
        except ValueError:
            same = False
        if not same:
            raise DataError(f"row {number}: the memory_id {name!r} is no UUID in lower case")
    for name in ("access_count", "occurrences"):
        least = pc.min(columns[name]).as_py()
        if least is not None and least < 0:
            raise DataError(f"{name} is {least}; it is at least 0")
    made, said = derive(columns), columns["content_hash"].to_pylist()
    changed = np.array(
        [now != before[:HEX] for now, before in zip(made["content_hash"].to_pylist(), said, strict=True)],
        bool,
    )
    hashes = [
        each + before[HEX:] for each, before in zip(made["content_hash"].to_pylist(), said, strict=True)
    ]
    columns |= {"modalities": made["modalities"], "content_hash": pa.array(hashes, pa.string())}
    return columns, changed


def check_links(links: pa.Table) -> None:
    """Refuse what no link can be, by a `DataError`."""
    for name in association_links.SCHEMA.names:
        if links[name].null_count:
            raise DataError(f"a link has no {name}")
    if len(links):
        weights = pc.min_max(links["weight"]).as_py()
        if not 0 < weights["min"] <= weights["max"] <= 1 or pc.any(pc.is_nan(links["weight"])).as_py():
            raise DataError("the weight of a link is not in (0, 1]")
        if pc.min(links["evidence_count"]).as_py() < 1:
            raise DataError("the evidence_count of a link is below 1")


def _with_true_vectors(columns: dict[str, pa.Array], changed: NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Return columns without the vectors that are of another content."""
    vectors, made_by = columns["text_embedding"], columns["text_weight_version"]
    there = vectors.is_valid().to_numpy(zero_copy_only=False)
    given = made_by.is_null().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(changed & there & given)[:1]:
        raise DataError(
            f"row {row}: the memory was changed after it was exported, and its vector, which was given with "
            "it, is that of the content before; take text_embedding out to have it embedded here"
        )
    stale = there & ~given & (changed | is_off(vectors))
    if stale.any():
        kept = pa.array(~stale)
        for name, values in (("text_embedding", vectors), ("text_weight_version", made_by)):
            columns[name] = pc.if_else(kept, values, pa.scalar(None, values.type))
    return columns


def _of_unit_length(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Return columns with vectors of length 1, bit by bit as they were where they are."""
    vectors = columns["text_embedding"]
    if is_off(vectors).any():
        columns["text_embedding"] = unit_vectors(vectors, vectors.type.list_size)
    return columns


def is_off(column: pa.Array) -> NDArray[np.bool_]:
    """Tell which vectors are not of length 1."""
    off = np.zeros(len(column), bool)
    there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    lengths = np.linalg.norm(values.astype(np.float64), axis=1)
    off[there] = ~(np.abs(lengths - 1) <= _OFF)  # NaN too
    return off
