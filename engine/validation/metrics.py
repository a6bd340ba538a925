"""What quantization does to vectors and to language models, in numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.catalog.report import PerplexityMetrics, VectorMetrics
from aios_db.schema.errors import DataError

RECALL_AT = 10


def cosines(original: NDArray[np.float32], candidate: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows, float64 ``(n,)``.

    Raises
    ------
    DataError
        The shapes differ, there is no row, or a vector is not finite or has no direction.
    """
    if original.shape != candidate.shape or original.ndim != 2 or not len(original):
        raise DataError(f"cannot compare vectors of shape {original.shape} with {candidate.shape}")
    left, right = _unit(original), _unit(candidate)
    pairs: NDArray[np.float64] = np.clip((left * right).sum(axis=1), -1, 1)
    return pairs


def compare_vectors(original: NDArray[np.float32], candidate: NDArray[np.float32]) -> VectorMetrics:
    """Compare float32 ``(n, dimension)`` with ``(n, dimension)``, row by row.

    With fewer than 12 rows everything is everyone's neighbour, with fewer than 3 no ranks exist; recall or
    Spearman is then 1.

    Raises
    ------
    DataError
        As `cosines`.
    """
    pairs = cosines(original, candidate)
    left, right = _unit(original), _unit(candidate)
    before, after = left @ left.T, right @ right.T
    above = np.triu_indices(len(left), 1)
    return VectorMetrics(
        count=len(left),
        cosine_mean=float(pairs.mean()),
        cosine_p5=float(np.percentile(pairs, 5)),
        cosine_min=float(pairs.min()),
        spearman=spearman(before[above], after[above]),
        recall_at_10=_neighbour_recall(before, after),
    )


def perplexity(original: NDArray[np.float32], candidate: NDArray[np.float32]) -> PerplexityMetrics:
    """Return ``exp(mean loss)`` of two models, whose losses of each token, ``(tokens,)``, are given.

    Raises
    ------
    DataError
        The texts hold no token to predict, or the models do not cut them into the same tokens.
    """
    if not original.size or original.shape != candidate.shape:
        raise DataError(f"cannot compare perplexities over {original.size} and {candidate.size} tokens")
    before, after = (float(losses.mean(dtype=np.float64)) for losses in (original, candidate))
    return PerplexityMetrics(original.size, _exp(before), _exp(after))


def spearman(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; ties share their mean rank."""
    if len(left) < 2:
        return 1.0
    ranks = [_ranks(each) for each in (left, right)]
    centred = [each - each.mean() for each in ranks]
    norm = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
    if norm == 0:  # at least one side has only ties
        return 1.0 if np.array_equal(ranks[0], ranks[1]) else 0.0
    return float(centred[0] @ centred[1] / norm)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[inverse]
    return ranks


def _neighbour_recall(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    k = min(RECALL_AT, len(before) - 1)
    if k < 1:
        return 1.0
    nearest = []
    for similarities in (before, after):
        others = similarities.copy()
        np.fill_diagonal(others, -np.inf)  # a text is no neighbour of its own
        nearest.append(np.argsort(-others, axis=1, kind="stable")[:, :k])
    return float(np.mean([len(np.intersect1d(*pair)) / k for pair in zip(*nearest, strict=True)]))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        raise DataError("cannot compare vectors: one is not finite or has no direction")
    unit: NDArray[np.float64] = wide / norms
    return unit


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
