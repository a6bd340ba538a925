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


class Erasure(Protocol):
    """What an erasure did."""

    @property
    def memories(self) -> int:
        """How many memories it deleted."""
        ...


class MemoryWriter(Protocol):
    """The part of the store that changes things."""

    def remember(self, rows: pa.Table, *, append: bool = False, entry: str = ...) -> list[str]:
        """Store memories; one id per row, in order. With ``append`` untimed messages are new turns.

        ``entry`` is the source of those that name none.
        """
        ...

    def update(self, rows: pa.Table) -> int:
        """Change columns of memories, which are named by their ids; return how many."""
        ...

    def forget(self, memory_ids: Sequence[str], *, confirm: bool = False) -> int:
        """Delete memories and their links; return how many there were. Many are to be confirmed."""
        ...

    def erase(self, memories: Sequence[str]) -> Erasure:
        """Delete memories, and what was deleted before, from every file."""
        ...

    def link(self, links: pa.Table) -> int:
        """Insert or strengthen links; return how many."""
        ...

    def existing(self, memory_ids: Sequence[str]) -> list[bool]:
        """Tell of each whether there is such a memory."""
        ...


class Snapshot(Protocol):
    """The newest datasets, by table name."""

    def dataset(self, table: str) -> pads.Dataset:
        """Return the Lance dataset behind a view."""
        ...
