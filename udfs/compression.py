"""`compress(text)` and `reconstruct(blob)` in SQL."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from aios_db.schema.deadlines import check
from aios_db.udfs.functions import ScalarFunction


class Compressing(Protocol):
    """A store that makes bytes of texts."""

    def compress_text(self, text: str, *, semantic: bool = ..., detail: bool = ...) -> bytes:
        """Return a text as bytes."""
        ...

    def reconstruct_text(self, frame: bytes) -> str:
        """Return the text of such bytes."""
        ...


def compressed(store: Compressing, texts: pa.Array, semantic: pa.Array, detail: pa.Array) -> pa.Array:
    """Return the frame of each text, null for null."""
    frames = []
    for text, as_summary, whole in zip(
        *(each.to_pylist() for each in (texts, semantic, detail)), strict=True
    ):
        check()
        frames.append(None if text is None else store.compress_text(text, semantic=as_summary, detail=whole))
    return pa.array(frames, pa.binary())


def reconstructed(store: Compressing, frames: pa.Array) -> pa.Array:
    """Return the text of each frame, null for null."""
    texts = []
    for each in frames.to_pylist():
        check()
        texts.append(None if each is None else store.reconstruct_text(each))
    return pa.array(texts, pa.string())


FUNCTIONS = (
    ScalarFunction("aios_compress", ["VARCHAR", "BOOLEAN", "BOOLEAN"], "BLOB", compressed),
    ScalarFunction("aios_reconstruct", ["BLOB"], "VARCHAR", reconstructed),
)
