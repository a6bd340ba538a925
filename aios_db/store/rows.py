"""From what a caller gives to rows of `memories`: columns checked, types coerced, bad values refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIERS, TIMESTAMP, WRITABLE, memories_schema
from aios_db.store.identity import content_hashes
from aios_db.store.tables import check_columns, plain
from aios_db.store.values import json_object, timestamps
from aios_db.store.vectors import unit_vectors

_DEFAULTS = {"kind": "message", "tier": "short", "importance": 0.5, "trust": 1.0}


def normalise(rows: pa.Table, dimension: int) -> pa.Table:
    """Return ``rows`` with every writable column in its stored type, and content hashes.

    Parameters
    ----------
    rows
        Columns out of `WRITABLE`, in any Arrow type that converts without loss. A number (seconds since 1970)
        or a string in ISO 8601 (no zone means UTC) is taken for a timestamp, a mapping for a JSON object.
    dimension
        Length that a given ``text_embedding`` must have.

    Returns
    -------
    pa.Table
        The columns of the `memories` schema that follow from a row alone: all of `WRITABLE`,
        ``text_weight_version``, ``modalities`` and ``content_hash``. Vectors have unit length or are NULL.

    Raises
    ------
    ProgrammingError
        For an unknown column.
    DataError
        For a value that does not fit, with the number of its row, counted from 0.
    """
    check_columns(rows.column_names)
    schema = memories_schema(dimension)
    columns: dict[str, pa.Array] = {}
    for name in WRITABLE:
        if name in rows.column_names:
            columns[name] = _coerce(rows.column(name), schema.field(name))
        else:
            columns[name] = pa.nulls(len(rows), schema.field(name).type)
        if name in _DEFAULTS:
            columns[name] = pc.fill_null(columns[name], pa.scalar(_DEFAULTS[name], schema.field(name).type))
    columns["text_weight_version"] = pa.nulls(len(rows), pa.string())  # a given vector's is not known
    columns["text"] = pc.fill_null(columns["text"], "")
    _check_values(columns)
    columns["modalities"] = _modalities(columns)
    columns["content_hash"] = content_hashes(columns)
    return pa.table({name: columns[name] for name in schema.names if name in columns})


def complete(
    rows: pa.Table, memory_ids: Sequence[str], access_counts: NDArray[np.int64], schema: pa.Schema
) -> pa.Table:
    """Return normalised rows in the stored schema, with the columns that only the store can fill in."""
    columns = {name: rows[name] for name in rows.column_names}
    columns["memory_id"] = pa.array(memory_ids, pa.string())
    columns["created_at"] = pa.repeat(pa.scalar(datetime.now(timezone.utc), TIMESTAMP), len(rows))
    columns["access_count"] = pa.array(access_counts)
    for name in schema.names:
        if name not in columns:
            columns[name] = pa.nulls(len(rows), schema.field(name).type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _coerce(given: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """Cast one column to its stored type or say which row cannot be."""
    column = plain(given)
    if field.name == "text_embedding":
        return unit_vectors(column, field.type.list_size)
    if field.name == "occurred_at":
        return timestamps(column)
    if field.name == "metadata":
        return pa.array(
            [json_object(value, row) for row, value in enumerate(column.to_pylist())], pa.string()
        )
    if pa.types.is_string(field.type) and _is_binary(column.type):
        raise DataError(f"column {field.name!r} holds bytes, not text; decode them, or store them as media")
    try:
        coerced = column.cast(field.type)
        coerced.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"column {field.name!r} does not convert to {field.type}: {error}") from error
    return coerced


def _is_binary(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_fixed_size_binary(type_)
        or pa.types.is_binary_view(type_)
    )


def _first(condition: pa.Array) -> int | None:
    """Return the number of the first row that is true."""
    found = int(pc.index(condition, pa.scalar(True)).as_py()) if len(condition) else -1
    return None if found < 0 else found


def _check_values(columns: Mapping[str, pa.Array]) -> None:
    def refuse(condition: pa.Array, message: Callable[[int], str]) -> None:
        row = _first(condition)
        if row is not None:
            raise DataError(f"row {row}: {message(row)}")

    blank = pc.and_(_is_blank(columns["text"]), _is_blank(columns["title"]))
    nothing = pc.and_(blank, pc.and_(columns["media"].is_null(), columns["media_uri"].is_null()))
    refuse(nothing, lambda _: "nothing to remember: text, title and media are all empty")
    wrong_tier = pc.invert(pc.is_in(columns["tier"], pa.array(TIERS)))
    refuse(
        wrong_tier, lambda row: f"tier is {columns['tier'][row].as_py()!r}; it is one of {', '.join(TIERS)}"
    )
    for name in ("importance", "trust"):
        value = columns[name]
        outside = pc.invert(pc.and_(pc.greater_equal(value, 0.0), pc.less_equal(value, 1.0)))  # NaN too
        row = _first(outside)
        if row is not None:
            raise DataError(f"row {row}: {name} is {value[row]}; it is in [0, 1]")


def _is_blank(column: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)


def _modalities(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return what each memory consists of: ``text``, and the main type of its media."""
    has_text = pc.invert(pc.and_(_is_blank(columns["text"]), _is_blank(columns["title"]))).to_pylist()
    has_media = pc.or_(columns["media"].is_valid(), columns["media_uri"].is_valid()).to_pylist()
    types = columns["media_type"].to_pylist()
    values = [
        ["text"] * text + [(type_ or "binary").partition("/")[0]] * media
        for text, media, type_ in zip(has_text, has_media, types, strict=True)
    ]
    return pa.array(values, pa.list_(pa.string()))
