"""`embed(text)`: the text encoder as a SQL function."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa

from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.protocols import TextEncoder
from aios_db.udfs.types import TEXT_VECTOR, VARCHAR


class HasEncoder(Protocol):
    """A store with a text encoder."""

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of the store's text vectors."""
        ...


def embed(store: HasEncoder, texts: pa.Array) -> pa.Array:
    """Return a fixed-size list of float32 per text, null for null; equal texts are encoded once."""
    encoder = store.encoder
    given = texts.to_pylist()
    distinct = [text for text in dict.fromkeys(given) if text is not None]
    vectors = np.zeros((len(distinct) + 1, encoder.dimension), dtype=np.float32)  # null has the last one
    if distinct:
        vectors[:-1] = encoder.encode(distinct)
    places = {text: place for place, text in enumerate([*distinct, None])}
    rows = vectors[[places[text] for text in given]]
    mask = texts.is_null() if texts.null_count else None
    return pa.FixedSizeListArray.from_arrays(rows.ravel(), encoder.dimension, mask=mask)


FUNCTIONS = (ScalarFunction("aios_embed", [VARCHAR], TEXT_VECTOR, embed),)
