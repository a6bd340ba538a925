"""Vectors for the texts that come without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.errors import InternalError
from aios_db.store.vectors import as_array, scatter
from aios_db.udfs.protocols import TextEncoder


class Encoder(TextEncoder, Protocol):
    """Turns texts into unit vectors and says which weights it does that with."""

    @property
    def version(self) -> str:
        """Name and hash of the weights, recorded beside every vector."""
        ...


def embed_missing(rows: pa.Table, wanted: NDArray[np.bool_], encoder: Callable[[], Encoder]) -> pa.Table:
    """Return ``rows`` with a vector for each that is wanted, has text and has none yet.

    Parameters
    ----------
    rows
        As from `rows.normalise`.
    wanted
        bool ``(n,)``; rows already stored need none.
    encoder
        Called only when there is something to embed.
    """
    column = rows["text_embedding"].combine_chunks()
    missing = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False) & wanted)
    chosen = rows.select(["title", "text"]).take(pa.array(missing))
    texts = [
        text_to_embed(title, text)
        for title, text in zip(chosen["title"].to_pylist(), chosen["text"].to_pylist(), strict=True)
    ]
    missing = missing[[bool(text.strip()) for text in texts]]
    if not len(missing):
        return rows
    model = encoder()
    vectors = as_array(encode(model, [text for text in texts if text.strip()], column.type.list_size))
    made = pa.array(np.isin(np.arange(len(rows)), missing))
    filled = {
        "text_embedding": pc.if_else(made, scatter(vectors, missing, len(rows)), column),
        "text_weight_version": pc.if_else(made, model.version, rows["text_weight_version"]),
    }
    for name, values in filled.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    return rows


def text_to_embed(title: str | None, text: str) -> str:
    """Return what the encoder sees of a memory: its title and its text."""
    return f"{title}. {text}" if title and text else title or text


def encode(encoder: Encoder, texts: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """Return the vectors of ``texts``, float32 ``(n, dimension)``, or fail before anything is stored.

    Raises
    ------
    InternalError
        When the encoder returns another shape or numbers that are not finite.
    """
    vectors = np.asarray(encoder.encode(texts), np.float32)
    if vectors.shape != (len(texts), dimension):
        raise InternalError(
            f"the encoder {encoder.version} returned shape {vectors.shape} for {len(texts)} texts; "
            f"this database stores vectors of {dimension}"
        )
    if not np.isfinite(vectors).all():
        raise InternalError(f"the encoder {encoder.version} returned NaN or infinity")
    return vectors
