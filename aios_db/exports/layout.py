"""How an export looks: its columns, its files, and its values in JSON.

A directory has `export.json`, `memories.parquet` and `association_links.parquet`. Of a file of JSON lines the
first is what `export.json` says; then each is an object with the one key ``memory`` or ``link``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from aios_db.schema import association_links, memories
from aios_db.store.rows import DEFAULTS

FORMAT = 1
ABOUT, MEMORIES, LINKS = "export.json", "memories.parquet", "association_links.parquet"
KEY = "aios_export"
SHA256 = "sha256"
"""Of all lines after the first, in a file of JSON lines; of each Parquet file, in a directory."""


def memory_columns(dimension: int) -> pa.Schema:
    """Return the columns of a memory in an export: all but what is derived."""
    return pa.schema(
        [
            each.remove_metadata()
            for each in memories.memories_schema(dimension)
            if each.name not in memories.DERIVED
        ]
    )


RELEASED = pa.schema([pa.field("released_text", pa.string()), pa.field("released_at", memories.TIMESTAMP)])
"""Of a memory that was let out of quarantine: the fingerprint of the text that was released, and when."""


def exported_columns(dimension: int) -> pa.Schema:
    """Return the columns of a memory and of its release, which exports of earlier versions do not have."""
    return pa.schema([*memory_columns(dimension), *RELEASED])


LATER: dict[str, Any] = {
    **dict.fromkeys(RELEASED.names),
    **dict.fromkeys(each.name for each in memories.LIFECYCLE_FIELDS),
    "pinned": DEFAULTS["pinned"],
}
"""The columns that exports of earlier versions do not have, and what they would have in them."""

LINK_COLUMNS: pa.Schema = association_links.SCHEMA


def to_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON holds it; what is None is left out."""
    return {name: _plain(value) for name, value in row.items() if value is not None}


def from_json(values: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Return what `to_json` was given.

    Raises
    ------
    ValueError, TypeError
        A value is not of its column's type, or of no column.
    """
    unknown = values.keys() - set(schema.names)
    if unknown:
        raise ValueError(f"there is no column {sorted(unknown)[0]!r}")
    values = {**LATER, **values}
    return {
        each.name: None if values.get(each.name) is None else _reader(each.type)(values[each.name])
        for each in schema
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _reader(type_: pa.DataType) -> Callable[[Any], Any]:
    if pa.types.is_timestamp(type_):
        return lambda value: datetime.fromisoformat(value.replace("Z", "+00:00"))
    if pa.types.is_large_binary(type_):
        return lambda value: base64.b64decode(value, validate=True)
    if pa.types.is_list(type_):
        inner = _reader(type_.value_type)
        return lambda value: [inner(each) for each in value]
    return lambda value: value
