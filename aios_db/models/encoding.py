"""What a text model sees of a memory, and the vectors that it makes of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.amounts import amount
from aios_db.schema.errors import InternalError
from aios_db.udfs.protocols import TextEncoder


class Encoder(TextEncoder, Protocol):
    """Turns texts into unit vectors and says which weights it does that with."""

    @property
    def version(self) -> str:
        """Name and hash of the weights, recorded beside every vector."""
        ...


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
            f"the encoder {encoder.version} returned shape {vectors.shape} for {amount(len(texts), 'text')}; "
            f"this database stores vectors of {dimension}"
        )
    if not np.isfinite(vectors).all():
        raise InternalError(f"the encoder {encoder.version} returned NaN or infinity")
    return vectors
