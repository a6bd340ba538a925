"""Activation over adjacency lists: one step, and joining it to what was reached before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Rows
from aios_db.search.ranking import sorted_unique

Adjacency = tuple[
    NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]
]
More = tuple[Rows, Rows, NDArray[np.float32], NDArray[np.uint8]]


def step(  # noqa: PLR0917
    rows: Rows,
    activation: NDArray[np.float64],
    adjacency: Adjacency,
    more: More,
    more_degrees: NDArray[np.float64],
    gains: NDArray[np.float32],
    shared: NDArray[np.bool_],
) -> tuple[Rows, NDArray[np.float64]]:
    """Let each of some rows send its activation over its links.

    Parameters
    ----------
    rows, activation
        int64 and float64 ``(n,)``: who sends, and what.
    adjacency
        The arrays of `LinkArrays`: offsets, targets, weights (0 when deleted), kinds and degrees.
    more
        Other links of the rows: place in ``rows``, target, weight and kind.
    more_degrees
        float64, by row: what these links add to ``degrees``; nothing beyond its end.
    gains, shared
        float32 and bool, by kind: the share of the activation that arrives over a link of weight 1, and
        whether it is divided by the root of both ends' degrees.

    Returns
    -------
    reached, arrived
        int64, ascending, and float64: the other ends, and the sum of what came.
    """
    offsets, all_targets, all_weights, all_kinds, degrees = adjacency
    known = np.flatnonzero(rows < len(offsets) - 1)
    starts, stops = offsets[rows[known]], offsets[rows[known] + 1]
    lengths = stops - starts
    origins = np.repeat(known, lengths)
    at = np.arange(len(origins)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    columns: tuple[NDArray[Any], ...] = (
        np.concatenate([origins, more[0]]),
        np.concatenate([all_targets[at], more[1]]),
        np.concatenate([all_weights[at], more[2]]),
        np.concatenate([all_kinds[at], more[3]]),
    )
    present = columns[2] > 0
    origins, targets, weights, kinds = (column[present] for column in columns)
    reached = sorted_unique(targets)
    at = np.searchsorted(reached, targets)
    own, other = (_degrees(degrees, more_degrees, ends) for ends in (rows, reached))
    share = np.where(shared[kinds], np.sqrt(own[origins] * other[at]), 1.0)
    flow = gains[kinds] * weights / share * activation[origins]
    return reached, np.bincount(at, flow, len(reached)).astype(np.float64)


def merge(  # noqa: PLR0917
    rows: Rows,
    arrived: NDArray[np.float64],
    distances: NDArray[np.int64],
    frontier: Rows,
    activation: NDArray[np.float64],
    hop: int,
) -> tuple[Rows, NDArray[np.float64], NDArray[np.int64]]:
    """Add what arrived at distance ``hop`` to what arrived before; rows are ascending in both."""
    merged = sorted_unique(np.concatenate([rows, frontier]))
    totals = np.zeros(len(merged))
    before, now = np.searchsorted(merged, rows), np.searchsorted(merged, frontier)
    totals[before] += arrived
    totals[now] += activation
    steps = np.full(len(merged), hop)
    steps[before] = distances
    return merged, totals, steps


def _degrees(
    degrees: NDArray[np.float32], more_degrees: NDArray[np.float64], rows: Rows
) -> NDArray[np.float64]:
    """Return the degree of each row in both tables together, at least 1."""
    found = np.zeros(len(rows))
    for table in (degrees, more_degrees):
        known = np.flatnonzero(rows < len(table))
        found[known] += table[rows[known]]
    return np.maximum(found, 1.0)
