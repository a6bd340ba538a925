"""Activation over adjacency lists: one step, and joining it to what was reached before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.association_links import KINDS
from aios_db.schema.retrieval import RowIds
from aios_db.search.ranking import sorted_unique

Adjacency = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]
More = tuple[RowIds, RowIds, NDArray[np.float32], NDArray[np.uint8]]
Seeds = tuple[RowIds, NDArray[np.float64]]

_INCOMING = 128
_NEXT_IN_SESSION, _SIMILAR, _SAME_ENTITY, _RECALLED_TOGETHER = map(
    KINDS.index, ("next_in_session", "similar", "same_entity", "recalled_together")
)
_MENTIONED = len(KINDS) + 1  # the gain of a memory that mentions the sender's title


def step(  # noqa: PLR0917
    rows: RowIds,
    activation: NDArray[np.float64],
    seeds: Seeds,
    adjacency: Adjacency,
    more: More,
    names: NDArray[np.uint64],
    gains: NDArray[np.float32],
) -> tuple[RowIds, NDArray[np.float64]]:
    """Let each of some rows send its activation over its links.

    Parameters
    ----------
    rows, activation
        int64 and float64 ``(n,)``: who sends, and what.
    seeds
        int64, ascending, and float64: how well some memories answer themselves; 0 for the others.
    adjacency
        The arrays of `LinkArrays`: offsets, targets, weights (0 when deleted) and kinds.
    more
        Other links of the rows: place in ``rows``, target, weight and kind.
    names
        uint64, by row: what titles of one name have in common, 0 without a title and beyond its end.
    gains
        float32, by kind: the share of the activation that arrives over a link of weight 1; the last is for
        the way back from a title to a memory that mentions it.

    Returns
    -------
    reached, arrived
        int64, ascending, and float64: the other ends; the sum of what came from turns of a session, and the
        most that came over another link.
    """
    origins, targets, weights, kinds = entries(rows, adjacency, more)
    reached = sorted_unique(targets)
    at = np.searchsorted(reached, targets)
    incoming, kinds = kinds >= _INCOMING, kinds & np.uint8(_INCOMING - 1)
    own, other = _values(names, rows)[origins], _values(names, targets)
    entity = kinds == _SAME_ENTITY
    back = entity & incoming & (own != 0)
    flow = np.where(back, gains[_MENTIONED], gains[kinds]).astype(np.float64) * weights * activation[origins]
    flow[entity & (own == other) & (own != 0)] = 0  # another passage of one title, which the title finds
    subject = (kinds != _NEXT_IN_SESSION) & (kinds != _SIMILAR) & (kinds != _RECALLED_TOGETHER) & (flow > 0)
    at_subject = np.flatnonzero(subject)
    flow[at_subject] *= _shares(
        origins[at_subject], targets[at_subject], weights[at_subject], back[at_subject],
        np.where(entity & ~incoming, other, np.uint64(0))[at_subject], seeds,
    )  # fmt: skip
    turns = kinds == _NEXT_IN_SESSION
    total = np.bincount(at[turns], flow[turns], len(reached)).astype(np.float64)
    most = np.zeros(len(reached))
    np.maximum.at(most, at[~turns], flow[~turns])
    return reached, total + most


def entries(rows: RowIds, adjacency: Adjacency, more: More) -> More:
    """Return all links of the rows that were not deleted: place in ``rows``, target, weight and kind."""
    offsets, all_targets, all_weights, all_kinds = adjacency
    known = np.flatnonzero(rows < len(offsets) - 1)
    starts, stops = offsets[rows[known]], offsets[rows[known] + 1]
    lengths = stops - starts
    origins = np.repeat(known, lengths)
    at = np.arange(len(origins)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    columns: tuple[NDArray[Any], ...] = (
        np.concatenate([origins, more[0]]),
        np.concatenate([all_targets[at].astype(np.int64), more[1]]),
        np.concatenate([all_weights[at], more[2]]),
        np.concatenate([all_kinds[at], more[3]]),
    )
    present = columns[2] > 0
    origins, targets, weights, kinds = (column[present] for column in columns)
    return origins, targets, weights, kinds


def _shares(  # noqa: PLR0917
    origins: RowIds,
    targets: RowIds,
    weights: NDArray[np.float32],
    back: NDArray[np.bool_],
    names: NDArray[np.uint64],
    seeds: Seeds,
) -> NDArray[np.float64]:
    """Return the part of a sender's gain that goes over each of its links.

    Links to titles of one name are one subject, as are those from memories that mention the sender's title;
    every other link is a subject by itself. A sender divides its gain among its subjects (their weights
    normalised to unit length), the mentioning ones aside, and a subject among its memories (softmax of their
    scores).
    """
    if not len(origins):
        return np.empty(0)
    alone = ~back & (names == 0)
    keys = np.where(alone, np.arange(len(origins), dtype=np.uint64), names)
    order = np.lexsort((keys, alone, back, origins))
    first = np.ones(len(order), np.bool_)
    first[1:] = False
    for column in (keys, alone, back, origins):
        first[1:] |= column[order[1:]] != column[order[:-1]]
    starts = np.flatnonzero(first)
    subjects = np.cumsum(first) - 1
    scores = _scores(seeds, targets[order])
    share = np.exp(scores - np.maximum.reduceat(scores, starts)[subjects])
    share /= np.add.reduceat(share, starts)[subjects]
    heads = order[starts]
    squares = np.where(back[heads], 0, np.maximum.reduceat(weights[order], starts).astype(np.float64) ** 2)
    norms = np.sqrt(np.maximum(np.bincount(origins[heads], squares), 1.0))
    share /= np.where(back[order], 1.0, norms[origins[order]])
    shares = np.empty(len(order))
    shares[order] = share
    return shares


def _scores(seeds: Seeds, rows: RowIds) -> NDArray[np.float64]:
    """Return the score of each row, 0 where it has none."""
    known, scores = seeds
    if not len(known):
        return np.zeros(len(rows))
    at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return np.where(known[at] == rows, scores[at], 0.0)


def merge(  # noqa: PLR0917
    rows: RowIds,
    arrived: NDArray[np.float64],
    distances: NDArray[np.int64],
    frontier: RowIds,
    activation: NDArray[np.float64],
    hop: int,
) -> tuple[RowIds, NDArray[np.float64], NDArray[np.int64]]:
    """Add what arrived at distance ``hop`` to what arrived before; rows are ascending in both."""
    merged = sorted_unique(np.concatenate([rows, frontier]))
    totals = np.zeros(len(merged))
    before, now = np.searchsorted(merged, rows), np.searchsorted(merged, frontier)
    totals[before] += arrived
    totals[now] += activation
    steps = np.full(len(merged), hop)
    steps[before] = distances
    return merged, totals, steps


def _values(table: NDArray[np.uint64], rows: RowIds) -> NDArray[np.uint64]:
    """Return the value of each row, 0 beyond the end of the table."""
    found = np.zeros(len(rows), table.dtype)
    known = np.flatnonzero(rows < len(table))
    found[known] = table[rows[known]]
    return found
