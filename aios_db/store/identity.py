"""When two memories are the same: a hash of scope and content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.memories import SCOPE

# What makes two memories of one scope the same; when it happened does not.
_CONTENT = ("kind", "title", "text", "speaker", "media", "media_uri")


def content_hashes(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return the SHA-256, in hex, of each row's scope and content.

    Every part is preceded by its length, so that no two different rows hash the same bytes; NULL and the
    empty string differ.
    """
    parts = [columns[name].to_pylist() for name in (*SCOPE, *_CONTENT)]
    hashes = []
    for row in zip(*parts, strict=True):
        digest = hashlib.sha256()
        for part in row:
            if part is None:
                digest.update(b"-")
            else:
                raw = part if isinstance(part, bytes) else part.encode()
                digest.update(b"%d:" % len(raw) + raw)
        hashes.append(digest.hexdigest())
    return pa.array(hashes, pa.string())


def first_of_each(hashes: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows where a hash is seen first, ascending, and for every row its place among them."""
    place: dict[str, int] = {}
    of_row = np.fromiter((place.setdefault(each, len(place)) for each in hashes), np.int64, len(hashes))
    first = np.full(len(place), len(hashes), np.int64)
    np.minimum.at(first, of_row, np.arange(len(hashes)))
    return first, of_row
