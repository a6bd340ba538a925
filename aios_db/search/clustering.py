"""Grouping vectors into the lists of an inverted file: k-means on a sample, and which lists to search.

How far a search reaches is not guessed: it is as far as a recall demands on queries drawn from the data
itself, measured against exact search when the file is built.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.search.centroids import Centroids, spherical_k_means
from aios_db.search.lists import best_of, highest
from aios_db.search.vectors import Clusters, Matrix

logger = logging.getLogger("aios_db.search")

_FEWEST_ROWS = 20_000  # below, scoring all rows takes a few milliseconds
_ROWS_IN_LIST = 128
_MOST_LISTS = 4096
_SAMPLE_A_LIST = 64
_MOST_SAMPLED = 131_072
_ROUNDS = 6
_QUERIES = 200  # a few hard ones decide
_NEIGHBORS = 10
_RECALL = 0.995
_NOISE = 0.5  # a query is a stored vector moved this far: questions lie beside the memories, not on them
_BLOCK = 8192


@dataclass(frozen=True)
class Grouping:
    """To which list each row belongs.

    Attributes
    ----------
    lists
        int64 ``(n,)``: the list of each row.
    centroids
        float32 ``(lists, dimension)``.
    reach
        How far to search, see `Clusters`.
    """

    lists: NDArray[np.int64]
    centroids: Matrix
    reach: float

    def order(self) -> tuple[NDArray[np.int64], Clusters]:
        """Return the order of the rows that puts list after list, and where the lists then lie."""
        offsets = np.zeros(len(self.centroids) + 1, np.int64)
        np.cumsum(np.bincount(self.lists, minlength=len(self.centroids)), out=offsets[1:])
        return np.argsort(self.lists, kind="stable"), Clusters(self.centroids, offsets, self.reach)


def group(
    parts: Sequence[Matrix], known: Clusters | None, *, fewest_rows: int = _FEWEST_ROWS
) -> Grouping | None:
    """Group the rows of all parts, taken one after the other; None for few rows.

    Parameters
    ----------
    parts
        Matrices of unit rows, float32 ``(n_i, dimension)``; they are read block by block and never joined.
    known
        The lists of the first part, kept while there are less than twice as many rows a list as there should
        be.
    fewest_rows
        Make no lists of fewer rows.
    """
    count = sum(map(len, parts))
    if count < fewest_rows:
        return None
    random = np.random.default_rng(count)
    number = min(count // _ROWS_IN_LIST, _MOST_LISTS)
    if known is not None and 2 * len(known.centroids) > number:
        centroids = Centroids(known.centroids)
        first = np.repeat(np.arange(len(known.centroids)), np.diff(known.offsets))
        lists = np.concatenate([first, *(centroids.nearest(part, 1)[:, 0] for part in parts[1:])])
    else:
        sample = min(number * _SAMPLE_A_LIST, _MOST_SAMPLED, count)
        drawn = random.choice(count, sample, replace=False)
        centroids = Centroids(spherical_k_means(_rows(parts, np.sort(drawn)), number, random, _ROUNDS))
        lists = np.concatenate([centroids.nearest(part, 1)[:, 0] for part in parts])
    reach = _reach(parts, centroids.vectors, lists, random)
    logger.info("vectors grouped", extra={"rows": count, "lists": len(centroids.vectors), "reach": reach})
    return Grouping(lists, centroids.vectors, reach)


def _rows(parts: Sequence[Matrix], wanted: NDArray[np.int64]) -> Matrix:
    """Return some rows, ascending, of the parts taken one after the other."""
    starts = np.cumsum([0, *map(len, parts)])
    return np.concatenate(
        [
            part[wanted[(wanted >= start) & (wanted < start + len(part))] - start]
            for part, start in zip(parts, starts[:-1], strict=True)
        ]
    )


def _reach(
    parts: Sequence[Matrix], centroids: Matrix, lists: NDArray[np.int64], random: np.random.Generator
) -> float:
    """Return the greatest reach that finds `_RECALL` of the exact neighbours of sampled queries."""
    drawn = _rows(parts, np.sort(random.choice(len(lists), min(_QUERIES, len(lists)), replace=False)))
    moved = random.standard_normal(drawn.shape, np.float32)
    queries = drawn + _NOISE * moved / np.linalg.norm(moved, axis=1, keepdims=True)
    scores = queries @ centroids.T
    found = np.take_along_axis(scores, lists[_exact(parts, queries)], axis=1)
    return float(np.quantile(found / scores.max(axis=1, keepdims=True), 1 - _RECALL, method="lower"))


def _exact(parts: Sequence[Matrix], queries: Matrix) -> NDArray[np.int64]:
    """Return int64 ``(queries, 10)``: the rows nearest to each query, numbered through all parts."""
    rows = np.full((len(queries), _NEIGHBORS), -1)
    scores = np.full((len(queries), _NEIGHBORS), -np.inf, np.float32)
    first = 0
    for part in parts:
        for start in range(0, len(part), _BLOCK):
            block = queries @ part[start : start + _BLOCK].T
            at, values = highest(block, min(_NEIGHBORS, block.shape[1]))
            at += first + start
            rows, scores = best_of(
                np.concatenate([rows, at], axis=1), np.concatenate([scores, values], axis=1), _NEIGHBORS
            )
        first += len(part)
    return rows
