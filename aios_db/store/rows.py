"""From what a caller gives to rows of `memories`: columns checked, types coerced, bad values refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.joint.media import media_type_of
from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIMESTAMP, WRITABLE, memories_schema
from aios_db.schema.tiers import TIERS
from aios_db.schema.vectors import unit_vectors
from aios_db.store.given_media import with_given_media
from aios_db.store.identity import content_hashes
from aios_db.store.tables import check_columns, plain
from aios_db.store.values import json_object, text_of, timestamps

DEFAULTS = {"kind": "message", "tier": "short", "importance": 0.5, "trust": 1.0, "pinned": False}
"""What a new memory has in columns that its caller leaves out."""


def normalise(rows: pa.Table, dimension: int) -> pa.Table:
    """Return ``rows`` with every writable column in its stored type, and content hashes.

    Parameters
    ----------
    rows
        Columns out of `WRITABLE`, in any Arrow type that converts without loss. A number (seconds since 1970)
        or a string (see `parse_time`; no zone means UTC) is taken for a timestamp, a mapping for JSON.
    dimension
        Length that a given ``text_embedding`` must have.

    Returns
    -------
    pa.Table
        The columns of the `memories` schema that follow from a row alone: all of `WRITABLE`, NULL where
        nothing is given (``kind`` and ``text`` have their defaults), ``text_weight_version``, ``modalities``
        and ``content_hash``. Vectors have unit length or are NULL.

    Raises
    ------
    ProgrammingError
        For an unknown column.
    DataError
        For a value that does not fit, with the number of its row, counted from 0.
    """
    rows = with_given_media(rows)
    check_columns(rows.column_names)
    schema = memories_schema(dimension)
    columns = coerce(rows, schema)
    for name in WRITABLE:
        columns.setdefault(name, pa.nulls(len(rows), schema.field(name).type))
    columns["kind"] = pc.fill_null(columns["kind"], DEFAULTS["kind"])
    columns["text"] = pc.fill_null(columns["text"], "")
    columns["text_weight_version"] = pa.nulls(len(rows), pa.string())  # a given vector's is not known
    for name in ("joint_embedding", "joint_hubness", "joint_weight_version"):
        columns[name] = pa.nulls(len(rows), schema.field(name).type)
    columns["media_type"] = _media_types(columns)
    check_values(columns)
    check_media(columns)
    columns |= derive(columns)
    return pa.table({name: columns[name] for name in schema.names if name in columns})


def coerce(rows: pa.Table, schema: pa.Schema) -> dict[str, pa.Array]:
    """Return the columns of ``rows`` in their stored types.

    Raises
    ------
    DataError
        For a value that does not convert, with the number of its row.
    """
    return {name: _coerce(rows.column(name), schema.field(name)) for name in rows.column_names}


def derive(columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Return ``modalities`` and, of scope and content alone, ``content_hash``."""
    return {"modalities": _modalities(columns), "content_hash": content_hashes(columns)}


def complete(
    rows: pa.Table, memory_ids: Sequence[str], access_counts: NDArray[np.int64], schema: pa.Schema
) -> pa.Table:
    """Return normalised rows in the stored schema, with the columns that only the store can fill in."""
    columns = {name: rows[name] for name in rows.column_names}
    columns["memory_id"] = pa.array(memory_ids, pa.string())
    for name, value in DEFAULTS.items():
        columns[name] = pc.fill_null(columns[name], pa.scalar(value, schema.field(name).type))
    columns["created_at"] = pa.repeat(pa.scalar(datetime.now(timezone.utc), TIMESTAMP), len(rows))
    columns["access_count"] = pa.array(access_counts)
    columns.setdefault("occurrences", pa.array(np.ones(len(rows), np.int64)))
    for name in schema.names:
        if name not in columns:
            columns[name] = pa.nulls(len(rows), schema.field(name).type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _coerce(given: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """Cast one column to its stored type or say which row cannot be."""
    column = plain(given)
    if field.name == "text_embedding":
        return unit_vectors(column, field.type.list_size)
    if field.type == TIMESTAMP:
        return timestamps(column, field.name)
    if field.name == "metadata":
        return pa.array(
            [json_object(value, row) for row, value in enumerate(column.to_pylist())], pa.string()
        )
    if pa.types.is_string(field.type):
        column = _as_text(column, field.name)
    if field.name in ("media", "audio") and not (_is_binary(column.type) or pa.types.is_null(column.type)):
        raise DataError(
            f"column {field.name!r} holds {column.type}, not bytes; a path or address is a {field.name}_uri"
        )
    try:
        coerced = column.cast(field.type)
        coerced.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"column {field.name!r} does not convert to {field.type}: {error}") from error
    return coerced


def _as_text(column: pa.Array, name: str) -> pa.Array:
    """Return a column of texts, numbers or UUIDs as it can be cast, or refuse what has no one text."""
    type_ = column.type
    if isinstance(type_, pa.UuidType):
        return pa.array([None if each is None else str(each) for each in column.to_pylist()], pa.string())
    if _is_binary(type_):
        raise DataError(f"column {name!r} holds bytes, not text; decode them, or store them as media")
    if pa.types.is_floating(type_) and name not in ("text", "title"):
        return pa.array(
            [text_of(each, name, row) for row, each in enumerate(column.to_pylist())], pa.string()
        )
    texts = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    names = pa.types.is_integer(type_) and name not in ("text", "title")
    if not (texts or names or pa.types.is_null(type_)):
        raise DataError(f"column {name!r} does not convert to text: it holds {type_}; make it text yourself")
    return column


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


def check_values(columns: Mapping[str, pa.Array]) -> None:
    """Refuse rows that no memory can be, by a `DataError` with the row's number; NULL is not given."""

    def refuse(condition: pa.Array, message: Callable[[int], str]) -> None:
        row = _first(condition)
        if row is not None:
            raise DataError(f"row {row}: {message(row)}")

    def given(name: str) -> bool:
        return bool(columns[name].null_count < len(columns[name]))

    blank = pc.and_(_is_blank(columns["text"]), _is_blank(columns["title"]))
    nothing = blank
    for name in filter(given, ("media", "media_uri", "audio", "audio_uri")):
        nothing = pc.and_(nothing, columns[name].is_null())
    refuse(nothing, lambda _: "nothing to remember: text, title and media are all empty")
    tier = columns["tier"]
    wrong_tier = pc.and_(tier.is_valid(), pc.invert(pc.is_in(tier, pa.array(TIERS))))
    refuse(
        wrong_tier, lambda row: f"tier is {columns['tier'][row].as_py()!r}; it is one of {', '.join(TIERS)}"
    )
    for name in filter(given, ("importance", "trust")):
        value = columns[name]
        inside = pc.and_(pc.greater_equal(value, 0.0), pc.less_equal(value, 1.0))
        outside = pc.and_(value.is_valid(), pc.invert(inside))  # NaN too
        row = _first(outside)
        if row is not None:
            raise DataError(f"row {row}: {name} is {value[row]}; it is in [0, 1]")
    for name in filter(given, ("kind", "external_id")):
        row = _first(pc.and_(columns[name].is_valid(), _is_blank(columns[name])))
        if row is not None:
            raise DataError(f"row {row}: {name} is empty; leave it out, or give it a word")


def check_media(columns: Mapping[str, pa.Array]) -> None:
    """Refuse pictures and sounds of no bytes, and empty paths of some, by a `DataError`.

    They may be in what older versions have written.
    """
    for name in ("media", "audio", "media_uri", "audio_uri"):
        column = columns.get(name)
        row = None if column is None else _first(pc.equal(pc.binary_length(column), 0))
        if row is not None:
            raise DataError(f"row {row}: {name} is empty; leave it out, or give NULL")


def check_lengths(columns: Mapping[str, pa.Array | pa.ChunkedArray], most_bytes: int) -> None:
    """Refuse rows with a longer text in any column by a `DataError` with the row's number."""
    for name, column in columns.items():
        # All texts of a column together are seldom as long as one of them may be.
        if name in WRITABLE and pa.types.is_string(column.type) and column.nbytes > most_bytes:
            lengths = pc.fill_null(pc.binary_length(column), 0)
            row = _first(pc.greater(lengths, most_bytes))
            if row is not None:
                raise DataError(
                    f"row {row}: {name} has {lengths[row].as_py():,} bytes, and the most is {most_bytes:,}; "
                    "store it in parts, or raise storage.max_text_bytes"
                )


def _is_blank(column: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)


def _media_types(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return the MIME type of each medium: that which is given, or by its first bytes or its name."""
    given, medium = columns["media_type"], columns["media"]
    if medium.null_count == len(medium) and columns["media_uri"].null_count == len(medium):
        return given
    heads = pc.binary_slice(medium, 0, 16).to_pylist()
    each = zip(given.to_pylist(), heads, columns["media_uri"].to_pylist(), strict=True)
    return pa.array([kind or media_type_of(head, uri) for kind, head, uri in each], pa.string())


def retyped_media(columns: Mapping[str, pa.Array], changed: NDArray[np.bool_]) -> pa.Array:
    """Return the MIME types where some media changed: what tells none keeps its type, no media have none."""
    old = columns["media_type"]
    if not changed.any():
        return old
    told = _media_types({**columns, "media_type": pa.nulls(len(old), pa.string())})
    has_media = pc.or_(columns["media"].is_valid(), columns["media_uri"].is_valid())
    new = pc.if_else(has_media, pc.coalesce(told, old), pa.scalar(None, pa.string()))
    return pc.if_else(pa.array(changed), new, old)


def _modalities(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return what each memory consists of: ``text``, the main type of its media, and ``audio`` besides."""
    has_text = pc.invert(pc.and_(_is_blank(columns["text"]), _is_blank(columns["title"]))).to_pylist()
    has_media = pc.or_(columns["media"].is_valid(), columns["media_uri"].is_valid()).to_pylist()
    has_sound = pc.or_(columns["audio"].is_valid(), columns["audio_uri"].is_valid()).to_pylist()
    types = columns["media_type"].to_pylist()
    values = [
        ["text"] * text + [(type_ or "binary").partition("/")[0]] * media + ["audio"] * sound
        for text, media, sound, type_ in zip(has_text, has_media, has_sound, types, strict=True)
    ]
    return pa.array([list(dict.fromkeys(each)) for each in values], pa.list_(pa.string()))
