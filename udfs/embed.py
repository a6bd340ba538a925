"""`embed(text)`: the text encoder as a SQL function."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa

from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.protocols import TextEncoder


class HasEncoder(Protocol):
    """A store with a text encoder."""

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of the store's text vectors."""
        ...


def embed(store: HasEncoder, texts: pa.Array) -> pa.Array:
    """Return a fixed-size list of float32 per text, null for null; equal texts are encoded once."""
    unique = texts.dictionary_encode()
    dimension = store.encoder.dimension
    rows = np.zeros((len(texts), dimension), dtype=np.float32)
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    if valid.any():
        vectors = store.encoder.encode(unique.dictionary.to_pylist())
        rows[valid] = vectors[unique.indices.drop_null().to_numpy()]
    return pa.FixedSizeListArray.from_arrays(rows.ravel(), dimension, mask=pa.array(~valid))


FUNCTIONS = (ScalarFunction("aios_embed", ["VARCHAR"], "FLOAT[{dimension}]", embed),)
