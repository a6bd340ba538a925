"""Nearest neighbours of a query, and of many at once, in one part of the index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, Rows
from aios_db.search.part import Part
from aios_db.search.ranking import best
from aios_db.search.vectors import Clusters, Matrix

_EXACT_ROWS = 20_000  # fewer rows that pass a filter are all scored
_MOST_WIDENING = 8
_BLOCK = 2048
Found = tuple[Rows, NDArray[np.float32]]


def search(
    part: Part, vector: NDArray[np.float32], k: int, where: Filter | None, *, exact: bool = False
) -> Found:
    """Return row ids and inner products of the ``k`` nearest memories of a part that pass the filter."""
    mask = part.matching(where)
    matches = int(np.count_nonzero(mask))
    if matches == 0 or k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    few = matches <= _EXACT_ROWS and matches < len(part)
    clusters = part.clusters
    if few and (clusters is None or where):
        documents = np.flatnonzero(mask)
        return best(part.rows[documents], part.vectors[documents] @ vector, k)
    if clusters is None or exact or k > _EXACT_ROWS:
        scores = part.vectors @ vector
        if matches == len(part):
            return best(part.rows, scores, k)
        documents = np.flatnonzero(mask)
        return best(part.rows[documents], scores[documents], k)
    probes = int(clusters.probes * min(len(part) / matches, _MOST_WIDENING))
    slices = clusters.nearest_rows(vector, probes)
    scores = np.concatenate([part.vectors[span] @ vector for span in slices])
    documents = np.concatenate([np.arange(span.start, span.stop) for span in slices])
    if matches < len(part):
        keep = mask[documents]
        scores, documents = scores[keep], documents[keep]
    return best(part.rows[documents], scores, k)


def neighbors(
    part: Part, vectors: Matrix, k: int, least: float
) -> tuple[NDArray[np.int64], Rows, NDArray[np.float32]]:
    """Return pairs (position in ``vectors``, row id, cosine) with a cosine of at least ``least``.

    With clusters, only the nearest ones of each vector are searched.
    """
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
    if part.clusters is None:
        queries = np.arange(len(vectors))
        for start in range(0, len(part), _BLOCK):
            found.append(
                _pairs(part, vectors, queries, slice(start, min(start + _BLOCK, len(part))), k, least)
            )
    else:
        for span, queries in _by_list(part.clusters, vectors):
            found.append(_pairs(part, vectors, queries, span, k, least))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    which, documents, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    alive = part.alive[documents]
    return which[alive], part.rows[documents[alive]], scores[alive]


def _pairs(  # noqa: PLR0917
    part: Part, vectors: Matrix, queries: NDArray[np.int64], span: slice, k: int, least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    scores = vectors[queries] @ part.vectors[span].T
    if k < scores.shape[1] and np.count_nonzero(scores >= least) > 4 * k * len(queries):
        at = np.argpartition(scores, -k, axis=1)[:, -k:]
        rows = np.repeat(np.arange(len(queries)), k)
        columns = at.ravel()
        keep = scores[rows, columns] >= least
        rows, columns = rows[keep], columns[keep]
    else:
        rows, columns = np.nonzero(scores >= least)
    return queries[rows], columns + span.start, scores[rows, columns]


_BATCH_PROBES = 4


def _by_list(clusters: Clusters, vectors: Matrix) -> list[tuple[slice, NDArray[np.int64]]]:
    probes = min(_BATCH_PROBES, len(clusters.centroids))
    lists = np.argpartition(vectors @ clusters.centroids.T, -probes, axis=1)[:, -probes:].ravel()
    order = np.argsort(lists, kind="stable")
    queries = np.repeat(np.arange(len(vectors)), probes)[order]
    distinct, starts = np.unique(lists[order], return_index=True)
    groups = np.split(queries, starts[1:])
    offsets = clusters.offsets
    return [
        (slice(int(offsets[i]), int(offsets[i + 1])), group)
        for i, group in zip(distinct.tolist(), groups, strict=True)
        if offsets[i + 1] > offsets[i]
    ]
