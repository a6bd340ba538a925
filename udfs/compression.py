"""`compress(text)` and `reconstruct(blob)` in SQL."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from aios_db.schema.config import Config
from aios_db.schema.packed_text import compress, reconstruct
from aios_db.udfs.functions import ScalarFunction


class HasConfig(Protocol):
    """A store, of which `storage.max_text_bytes` says how long a text may be."""

    @property
    def config(self) -> Config:
        """Its configuration."""
        ...


def compressed(store: HasConfig, texts: pa.Array) -> pa.Array:
    """Return the frame of each text, null for null."""
    most = store.config.storage.max_text_bytes
    frames = [None if each is None else compress(each, most) for each in texts.to_pylist()]
    return pa.array(frames, pa.binary())


def reconstructed(store: HasConfig, frames: pa.Array) -> pa.Array:
    """Return the text of each frame, null for null."""
    most = store.config.storage.max_text_bytes
    texts = [None if each is None else reconstruct(each, most) for each in frames.to_pylist()]
    return pa.array(texts, pa.string())


FUNCTIONS = (
    ScalarFunction("aios_compress", ["VARCHAR"], "BLOB", compressed),
    ScalarFunction("aios_reconstruct", ["BLOB"], "VARCHAR", reconstructed),
)
