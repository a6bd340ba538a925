"""How well one modality finds another: recall@k with intervals, and the rank that choices are made by."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Recall:
    """Recall at some number of answers.

    Attributes
    ----------
    asks, finds
        Modalities, of the query joined by ``+``.
    k, queries
        Answers that are looked at, and queries asked.
    value, low, high
        Share of the queries that found theirs, and its 95 % interval (Wilson, 1927).
    chance
        What a random order would find.
    candidates
        Distinct answers that were ranked, in the mean over the folds.
    """

    asks: str
    finds: str
    k: int
    queries: int
    value: float
    low: float
    high: float
    chance: float
    candidates: float

    def __str__(self) -> str:
        return (
            f"{self.asks} -> {self.finds}: recall@{self.k} {self.value:.3f} "
            f"[{self.low:.3f}, {self.high:.3f}] of {self.queries} among {self.candidates:.0f}, "
            f"chance {self.chance:.3f}"
        )


def recall_of(asks: str, finds: str, ranks: NDArray[np.int64], candidates: float, k: int = 10) -> Recall:
    """Return the recall@k of queries whose item has these ranks, from 0, among ``candidates``."""
    n = len(ranks)
    share = int((ranks < k).sum()) / max(1, n)
    return Recall(asks, finds, k, n, share, *wilson(share, n), min(1.0, k / max(1.0, candidates)), candidates)


def wilson(share: float, n: int, z: float = _Z) -> tuple[float, float]:
    """Return the interval of a share of n (Wilson, 1927), 0 to 1 of none."""
    if not n:
        return 0.0, 1.0
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def ranks_of_classes(
    similar: NDArray[np.float64], asked: NDArray[np.int64], found: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (n,) how many classes of candidates score above the best candidate of each query's own.

    Parameters
    ----------
    similar
        (n, m): scores of candidates.
    asked, found
        (n,) and (m,): classes of queries and of candidates. A query without a candidate of its class is last.
        Half of the ties are above, since a constant score must not look like a perfect one.
    """
    classes, place = np.unique(found, return_inverse=True)
    best = np.full((len(similar), len(classes)), -np.inf)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(classes)))
    if len(classes):
        best = np.maximum.reduceat(similar[:, order], starts, axis=1)
    at = np.searchsorted(classes, asked).clip(max=max(0, len(classes) - 1))
    known = classes[at] == asked if len(classes) else np.zeros(len(asked), np.bool_)
    mine = best[np.arange(len(asked)), at][:, None]
    ranks: NDArray[np.int64] = (best > mine).sum(1) + ((best == mine).sum(1) - 1) // 2
    ranks[~known] = len(classes)
    return ranks


def quality(ranks: NDArray[np.int64]) -> float:
    """Return the mean reciprocal rank: finer than a recall where there are few queries."""
    return float((1 / (1 + ranks)).mean()) if len(ranks) else 0.0
