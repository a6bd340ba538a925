"""A codebook of an encoder's states: entries for stretches of sound of several lengths."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.engine.encoders.entries import Entries

LENGTHS = (1, 5, 15)
"""States in a stretch: of 20 ms each, a third of a phone's, a phone's and a short word's time."""

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Codebook:
    """Entries among the means over stretches of states.

    Attributes
    ----------
    levels
        For each of `LENGTHS`.
    """

    levels: tuple[Entries, ...]

    @classmethod
    @single_threaded()
    def fitted(cls, sounds: Sequence[Rows]) -> Codebook:
        """Return the codebook of some sounds' states, float32 (n, width) each, one state at least in all."""
        return cls(
            tuple(
                Entries.fitted(np.concatenate([stretches(states, length) for states in sounds]))
                for length in LENGTHS
            )
        )

    @property
    def width(self) -> int:
        """Length of a code."""
        return sum(len(level.means) for level in self.levels)

    @single_threaded()
    def code(self, states: Rows) -> Rows:
        """Return float32 (width,): see `Entries.code`, level after level, for the states of a sound."""
        return np.concatenate(
            [
                level.code(stretches(states, length))
                for level, length in zip(self.levels, LENGTHS, strict=True)
            ]
        )

    @property
    def digest(self) -> str:
        """16 hex digits of its content."""
        return hashlib.sha256(self.flat().tobytes()).hexdigest()[:16]

    def flat(self) -> Rows:
        """Return it as one row of numbers, see `of_flat`."""
        parts = [getattr(level, each.name) for level in self.levels for each in fields(Entries)]
        sizes = [size for level in self.levels for size in (*level.projection.shape, len(level.means))]
        return np.concatenate([np.array(sizes), *(part.ravel() for part in parts)]).astype(np.float32)

    @classmethod
    def of_flat(cls, row: Rows) -> Codebook:
        """Return what `flat` was made of."""
        count = 3 * len(LENGTHS)
        sizes, rest = row[:count].astype(int).reshape(-1, 3).tolist(), row[count:].copy()
        levels = []
        for width, directions, means in sizes:
            ends = np.cumsum([width, width * directions, means * directions])
            mean, projection, among, rest = np.split(rest, ends)
            levels.append(Entries(mean, projection.reshape(width, -1), among.reshape(means, -1)))
        return cls(tuple(levels))


def stretches(states: Rows, length: int) -> Rows:
    """Return float32 (m, width): means over stretches of up to ``length`` states (n, width) around some.

    These are all states, or for long stretches those that lie a third of the length apart.
    """
    sums = np.vstack([np.zeros((1, states.shape[1])), np.cumsum(states, axis=0, dtype=np.float64)])
    middles = np.arange(0, len(states), max(1, length // 3))
    starts = np.maximum(middles - length // 2, 0)
    ends = np.minimum(middles + length // 2 + 1, len(states))
    means: Rows = ((sums[ends] - sums[starts]) / (ends - starts)[:, None]).astype(np.float32)
    return means
