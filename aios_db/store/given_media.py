"""Tables with pictures and sounds as they are given, brought to the columns that these are stored in."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from aios_db.joint.media import media_type_of, with_media, with_new_media
from aios_db.schema.errors import DataError, ProgrammingError

IMAGE, AUDIO = "image", "audio"
_STORED = {IMAGE: frozenset(("media", "media_uri")), AUDIO: frozenset(("audio_uri",))}
_ESCAPED = re.compile(rb"\\x([0-9A-Fa-f]{2})")


def with_given_media(table: pa.Table, *, changes: bool = False) -> pa.Table:
    """Return a table with the columns that its ``image`` and ``audio``, bytes or paths, are stored in.

    Parameters
    ----------
    table
        Of any types that Arrow has for bytes and texts; what is NULL has none.
    changes
        Whether it changes memories: what is given takes the place of bytes and paths alike, and NULL empties
        both.

    Raises
    ------
    ProgrammingError
        A picture or sound is given twice, as ``image`` and as ``media_uri``.
    DataError
        The column holds something else.
    """
    names = [name for name in (IMAGE, AUDIO) if name in table.column_names]
    if AUDIO in names and _holds_bytes(table[AUDIO]) and (not changes or "audio_uri" in table.column_names):
        names.remove(AUDIO)  # it is what is stored
    if not names:
        return table
    others = [name for name in table.column_names if name not in names]
    for name in names:
        twice = sorted(_STORED[name].intersection(others))
        if twice:
            raise ProgrammingError(f"{name} and {twice[0]} are both given; leave one out")
    given = {name: [_read(value, name) for value in table[name].to_pylist()] for name in names}
    rows = (dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True))
    stored = [(with_new_media if changes else with_media)(row) for row in rows]
    table = table.select(others)
    for name in dict.fromkeys(name for row in stored for name in row if name not in others):
        table = table.append_column(name, pa.array([row.get(name) for row in stored]))
    return table


def _holds_bytes(column: pa.ChunkedArray) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return not any(is_text(column.type) for is_text in kinds)


def _read(value: Any, name: str) -> bytes | str | None:
    """Return bytes, or a path; SQL's lists of structs hold bytes as text, in DuckDB's escapes."""
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise DataError(f"column {name!r} holds {type(value).__name__}; give bytes, or the path of a file")
    if "\\x" in value:
        content = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), value.encode())
        if media_type_of(content, None) is not None:
            return content
    return value
