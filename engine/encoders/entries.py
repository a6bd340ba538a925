"""Entries among an encoder's states: a sound is told by how often its states come near to each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_STATES = 32_768
"""That entries are made of: of 20 ms each, 11 minutes of sound."""
_MOST_ENTRIES, _STATES_OF_ENTRY = 1_024, 8
_DIRECTIONS, _RIDGE = 96, 0.3  # of variance, in states of deviation 1
_ROUNDS = 8
_SOFTNESS = 1 / 6  # per direction, squared distance by which an entry must be nearer to count e times as much
_BLOCK = 8_192

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Entries:
    """Means of states that are near to each other.

    They lie in the states' directions of most variance, each divided by its deviation.

    Attributes
    ----------
    mean, projection
        float32 (width,) and (width, directions): of states, to where the means lie.
    means
        float32 (n, directions).
    """

    mean: Rows
    projection: Rows
    means: Rows

    @classmethod
    def fitted(cls, states: Rows) -> Entries:
        """Return the entries of some states, float32 (n, width), by k-means with a fixed seed.

        Of more than `MOST_STATES` as many are drawn by lot; an entry has 8 in the mean, at least.
        """
        random = np.random.default_rng(0)
        some = states[np.sort(random.permutation(len(states))[:MOST_STATES])]
        mean, deviation = some.mean(0), some.std(0)
        scaled = (some - mean) / (deviation + 1e-6)
        values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        values, vectors = values[::-1][:_DIRECTIONS], vectors[:, ::-1][:, :_DIRECTIONS]
        turned = vectors / np.sqrt(np.maximum(values, 0) + _RIDGE)
        count = min(_MOST_ENTRIES, max(1, len(scaled) // _STATES_OF_ENTRY))
        means = _means(scaled @ turned, count, random)
        return cls(mean, turned / (deviation + 1e-6)[:, None], means)

    def code(self, states: Rows) -> Rows:
        """Return float32 (n,): the root of the share of states (m, width) that each entry is nearest to.

        A state between entries counts for each of them in part.
        """
        found, softness = np.zeros(len(self.means)), np.float32(_SOFTNESS * self.means.shape[1])
        for start in range(0, len(states), _BLOCK):
            rows = ((states[start : start + _BLOCK] - self.mean) @ self.projection).astype(np.float32)
            apart = _distances(rows, self.means)
            near = np.exp((apart.min(1, keepdims=True) - apart) / softness)
            found += (near / near.sum(1, keepdims=True)).sum(0)
        return np.sqrt(found / len(states)).astype(np.float32)


def _means(rows: Rows, count: int, random: np.random.Generator) -> Rows:
    """Return (count, width): the means that rows are near to, by Lloyd's rounds from rows drawn by lot."""
    means = rows[random.permutation(len(rows))[:count]]
    for _ in range(_ROUNDS):
        parts = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
        nearest = np.concatenate([_distances(part, means).argmin(1) for part in parts])
        order = np.argsort(nearest, kind="stable")
        taken, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(rows[order], starts, axis=0)
        means = means.copy()
        means[taken] = sums / np.diff([*starts, len(rows)])[:, None]
    return means


def _distances(rows: Rows, means: Rows) -> Rows:
    """Return (n, m): squared distances, each less the square of the row."""
    found: Rows = (means**2).sum(1) - 2 * rows @ means.T
    return found
