"""`compress(text)` and `reconstruct(blob)` in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from aios_db.schema.deadlines import check
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.types import BLOB, BOOLEAN, VARCHAR


class Compressing(Protocol):
    """A store that makes bytes of texts."""

    def compress_texts(
        self, texts: Sequence[str], *, semantic: bool = ..., detail: bool = ...
    ) -> Sequence[bytes]:
        """Return texts as bytes."""
        ...

    def reconstruct_text(self, frame: bytes) -> str:
        """Return the text of such bytes."""
        ...


def compressed(store: Compressing, texts: pa.Array, semantic: pa.Array, detail: pa.Array) -> pa.Array:
    """Return the frame of each text, null for null."""
    rows = [*zip(*(each.to_pylist() for each in (texts, semantic, detail)), strict=True)]
    frames: list[bytes | None] = [None] * len(rows)
    for how in dict.fromkeys(row[1:] for row in rows if row[0] is not None):
        check()
        places = [place for place, row in enumerate(rows) if row[0] is not None and row[1:] == how]
        made = store.compress_texts([rows[place][0] for place in places], semantic=how[0], detail=how[1])
        for place, frame in zip(places, made, strict=True):
            frames[place] = frame
    return pa.array(frames, pa.binary())


def reconstructed(store: Compressing, frames: pa.Array) -> pa.Array:
    """Return the text of each frame, null for null."""
    texts = []
    for each in frames.to_pylist():
        check()
        texts.append(None if each is None else store.reconstruct_text(each))
    return pa.array(texts, pa.string())


FUNCTIONS = (
    ScalarFunction("aios_compress", [VARCHAR, BOOLEAN, BOOLEAN], BLOB, compressed),
    ScalarFunction("aios_reconstruct", [BLOB], VARCHAR, reconstructed),
)
