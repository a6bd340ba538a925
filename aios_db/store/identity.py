"""When two memories are the same: a hash of scope and content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import SCOPE

# What makes two memories of one scope the same; when it happened does not.
_CONTENT = ("kind", "title", "text", "speaker", "media", "media_uri")
_READ = ("title", "text", "speaker")


def content_hashes(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return the SHA-256, in hex, of each row's scope and content.

    Every part is preceded by its length, so that no two different rows hash the same bytes; NULL and the
    empty string differ. What people read is hashed in Unicode's form NFC, so that canonically equivalent
    texts are the same; texts that differ in case or by compatibility characters are not.
    """
    parts = [
        _with_lengths(_composed(columns[name]) if name in _READ else columns[name])
        for name in (*SCOPE, *_CONTENT)
    ]
    parts += [_if_there(columns[name]) for name in ("audio", "audio_uri")]
    rows = pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))
    return pa.array([hashlib.sha256(row).hexdigest() for row in rows.to_pylist()], pa.string())


def _composed(column: pa.Array) -> pa.Array:
    """Return strings in NFC."""
    if pc.all(pc.string_is_ascii(column)).as_py() is not False:
        return column
    return pc.utf8_normalize(column, form="NFC")


def _with_lengths(column: pa.Array) -> pa.Array:
    """Return each value behind its length in bytes, ``3:abc``, and NULL as ``-``."""
    binary = pa.large_binary()
    if column.null_count == len(column):
        return pa.repeat(pa.scalar(b"-", binary), len(column))
    lengths = pc.binary_length(column).cast(pa.large_string()).cast(binary)
    values = pc.binary_join_element_wise(lengths, column.cast(binary), pa.scalar(b":", binary))
    return pc.fill_null(values, pa.scalar(b"-", binary))


def _if_there(column: pa.Array) -> pa.Array:
    """Return each value behind its length, and nothing for NULL, so that rows without keep their hash."""
    nothing = pa.scalar(b"", pa.large_binary())
    if column.null_count == len(column):
        return pa.repeat(nothing, len(column))
    return pc.if_else(column.is_valid(), _with_lengths(column), nothing)


def first_of_each(hashes: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows where a hash is seen first, ascending, and for every row its place among them."""
    place: dict[str, int] = {}
    of_row = np.fromiter((place.setdefault(each, len(place)) for each in hashes), np.int64, len(hashes))
    first = np.full(len(place), len(hashes), np.int64)
    np.minimum.at(first, of_row, np.arange(len(hashes)))
    return first, of_row
