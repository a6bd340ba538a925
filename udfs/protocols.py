"""What the SQL functions ask of the store, so that this layer need not import the one above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
from numpy.typing import NDArray


class TextEncoder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimension)``, rows of unit length."""
        ...


class MemoryWriter(Protocol):
    """The part of the store that changes things."""

    def remember(self, rows: pa.Table) -> list[str]:
        """Store memories; one id per row, in order."""
        ...

    def forget(self, memory_ids: Sequence[str]) -> int:
        """Delete memories and their links; return how many there were."""
        ...

    def link(self, links: pa.Table) -> int:
        """Insert or strengthen links; return how many."""
        ...


class Snapshot(Protocol):
    """The newest datasets, by table name."""

    def dataset(self, table: str) -> pads.Dataset:
        """Return the Lance dataset behind a view."""
        ...
