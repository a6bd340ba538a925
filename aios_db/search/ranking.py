"""Hashes of strings, and the best of many scores."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds


def digest64(text: str) -> int:
    """Return a 64-bit hash of ``text`` that is the same in every process; 0 stands for a missing value."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def sorted_unique(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct integers in ``values``, ascending: a sort, faster than `np.unique`."""
    ordered = np.sort(values)
    if len(ordered) == 0:
        return ordered
    keep = np.empty(len(ordered), np.bool_)
    keep[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=keep[1:])
    return ordered[keep]


def best(row_ids: RowIds, scores: NDArray[np.float32], k: int) -> tuple[RowIds, NDArray[np.float32]]:
    """Return the ``k`` highest scores with their rows, best first, ties by row id."""
    if k < len(scores):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        keep = np.flatnonzero(scores >= threshold)
        row_ids, scores = row_ids[keep], scores[keep]
    order = np.lexsort((row_ids, -scores))[:k]
    return row_ids[order], scores[order]


def best_of_parts(
    found: Sequence[tuple[RowIds, NDArray[np.float32]]], k: int
) -> tuple[RowIds, NDArray[np.float32]]:
    """Return the ``k`` best of what `best` found in each of some parts."""
    if len(found) == 1:
        return found[0]
    rows, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    return best(rows, scores, k)


def strongest(scores: NDArray[np.float64], places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the ``count`` of some ``places`` whose scores are highest, ascending; ties by place.

    ``scores`` is what the places are places in.
    """
    if count >= len(places):
        return places
    values = scores[places]
    least = np.partition(values, len(values) - count)[len(values) - count] if count else np.inf
    above, equal = places[values > least], places[values == least]
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))
