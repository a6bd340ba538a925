"""The content hash of a compressed memory: six digits of it on the disk, and the rest made of the content.

A SHA-256 is as long as half a sentence and follows from scope and content, so that a compressed memory has
`SHORT`, six hexadecimal digits to check what is made, and what the content does not say
(`schema/identity.py`).
Memories with a medium keep theirs whole: to read it again for each would cost more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.identity import HEX
from aios_db.schema.memories import SCOPE
from aios_db.store.identity import content_hashes

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)

COLUMN = "content_hash"
SHORT = "~"
SAID_BY = (*SCOPE, "kind", "title", "text", "speaker")
"""The columns that a short hash is made whole from."""
_MEDIA = ("media", "media_uri", "audio", "audio_uri")
_DIGITS = 6


def shortened(rows: pa.Table) -> pa.Table:
    """Return rows of `memories` with short hashes, where the whole ones follow from what is in the rows."""
    place = rows.schema.get_field_index(COLUMN)
    if place < 0:
        return rows
    hashes = in_one(rows[COLUMN])
    plain = np.logical_and.reduce([rows[name].is_null().to_numpy() for name in _MEDIA])
    made = pc.utf8_slice_codeunits(hashes, 0, HEX)
    follows = pc.and_(pc.equal(made, _made({name: in_one(rows[name]) for name in SAID_BY})), pa.array(plain))
    short = pc.binary_join_element_wise(
        SHORT, pc.utf8_slice_codeunits(hashes, 0, _DIGITS), pc.utf8_slice_codeunits(hashes, HEX), ""
    )
    return rows.set_column(place, rows.schema.field(place), pc.if_else(follows, short, hashes))


def are_short(hashes: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Tell which hashes are short; booleans."""
    return pc.fill_null(pc.starts_with(hashes, SHORT), False)


def whole(hashes: pa.Array, content: Mapping[str, pa.Array]) -> pa.Array:
    """Return hashes with the short ones made whole.

    Parameters
    ----------
    hashes
        Some of them short.
    content
        The columns `SAID_BY`, one row for each hash.

    Returns
    -------
    pyarrow.StringArray
        Where the content is not what a short hash was of, one that no content has.
    """
    short = are_short(hashes)
    digits = pc.utf8_slice_codeunits(hashes, len(SHORT), len(SHORT) + _DIGITS)
    suffixes = pc.utf8_slice_codeunits(hashes, len(SHORT) + _DIGITS)
    made = _made(content)
    same = pc.equal(digits, pc.utf8_slice_codeunits(made, 0, _DIGITS))
    first = pc.if_else(same, made, pc.utf8_rpad(digits, HEX, SHORT))
    return pc.if_else(short, pc.binary_join_element_wise(first, suffixes, ""), hashes)


def with_whole(rows: Rows) -> Rows:
    """Return rows of `memories` that have the columns `SAID_BY` with whole hashes; others as they are."""
    place = rows.schema.get_field_index(COLUMN)
    if place < 0 or not pc.any(are_short(rows[COLUMN])).as_py():
        return rows
    content = {name: in_one(rows[name]) for name in SAID_BY}
    return rows.set_column(place, rows.schema.field(place), whole(in_one(rows[COLUMN]), content))


def row_with_whole(values: dict[str, Any]) -> dict[str, Any]:
    """Return one row, as names and values, as `with_whole` does."""
    if not (values[COLUMN] or "").startswith(SHORT):
        return values
    names = (COLUMN, *SAID_BY)
    strings = pa.schema([pa.field(name, pa.string()) for name in names])
    row = with_whole(pa.Table.from_pylist([{name: values[name] for name in names}], strings))
    return {**values, COLUMN: row[COLUMN][0].as_py()}


def in_one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _made(content: Mapping[str, pa.Array]) -> pa.Array:
    count = len(content["text"])
    binary = {"media", "audio"}
    nothing = {name: pa.nulls(count, pa.large_binary() if name in binary else pa.string()) for name in _MEDIA}
    return content_hashes({**{name: content[name] for name in SAID_BY}, **nothing})
