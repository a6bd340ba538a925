"""Merging a segment and a tail into a new segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.search.clustering import Grouping, group
from aios_db.search.joint import JointArrays
from aios_db.search.keys import KeyTable, heads
from aios_db.search.labels import without
from aios_db.search.linkrun import Links
from aios_db.search.mapped import empty, settled
from aios_db.search.moments import term_moments
from aios_db.search.part import COLUMNS
from aios_db.search.postings import Postings, Triples
from aios_db.search.rowtable import RowTable
from aios_db.search.segment import Segment, Version, assemble
from aios_db.search.stored_rows import StoredRows
from aios_db.search.vectors import Statistics

_BLOCK = 65536


@dataclass(frozen=True)
class State:
    """What a view holds: its segment, and what came since as arrays.

    What happened after it is in the tables' deltas since `version`.
    """

    segment: Segment
    columns: dict[str, NDArray[Any]]
    terms: Triples
    labels: Triples
    unlabelled: NDArray[np.uint64]
    """`labels.mixed` of the labels that memories have lost."""
    keys: dict[str, KeyTable]
    links: Links
    statistics: Statistics
    rows: StoredRows
    joint: JointArrays
    version: Version


def merge(state: State) -> Segment:
    """Return a new segment of all live memories, ordered by cluster where there are enough of them."""
    segment = state.segment
    parts = (segment.columns, state.columns)
    kept = [np.flatnonzero(part["alive"]) for part in parts]
    grouping = group([part["vectors"] for part in parts], segment.clusters)
    if grouping is None:
        order, clusters = np.arange(sum(map(len, kept))), None
    else:
        both = np.split(grouping.lists, [len(segment)])
        lists = np.concatenate([part[keep] for part, keep in zip(both, kept, strict=True)])
        order, clusters = Grouping(lists, grouping.centroids, grouping.reach).order()
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    columns = {name: _merged_column(name, parts, kept, place) for name in COLUMNS}
    terms = _merged_terms((segment.terms, state.terms), [len(part["rows"]) for part in parts], kept, place)
    arrays = assemble(
        columns,
        terms,
        _merged_labels((segment.labels, state.labels), state.unlabelled, columns["rows"]),
        term_moments(terms, columns["lengths"]),
        state.links,
        _living_keys(state.keys, columns),
        state.statistics,
        clusters,
        state.joint,
    )
    arrays |= {name: settled(array) for name, array in arrays.items() if name not in columns}
    batches = state.rows.blocks(columns["rows"])
    return Segment(arrays, state.version, clusters.reach if clusters else 0.0, batches)


def _merged_column(
    name: str,
    parts: Sequence[dict[str, NDArray[Any]]],
    kept: list[NDArray[np.int64]],
    place: NDArray[np.int32],
) -> NDArray[Any]:
    """Return a column of the kept documents at their new places, copied block by block."""
    example = parts[0][name]
    merged = empty((len(place), *example.shape[1:]), example.dtype)
    first = 0
    for part, keep in zip(parts, kept, strict=True):
        for start in range(0, len(keep), _BLOCK):
            documents = keep[start : start + _BLOCK]
            merged[place[first + start : first + start + len(documents)]] = part[name][documents]
        first += len(keep)
    return merged


def _merged_terms(
    postings: Sequence[Postings | Triples],
    lengths: Sequence[int],
    kept: list[NDArray[np.int64]],
    place: NDArray[np.int32],
) -> Postings:
    triples = []
    start = 0
    for part, length, keep in zip(postings, lengths, kept, strict=True):
        renumber = np.full(length, -1, np.int32)
        renumber[keep] = place[start : start + len(keep)]
        start += len(keep)
        keys, docs, counts = part.triples()
        docs = renumber[docs]
        live = docs >= 0
        triples.append((keys[live], docs[live], counts[live]))
    return Postings.build(*(np.concatenate(column) for column in zip(*triples, strict=True)))


def _merged_labels(
    parts: Sequence[Postings | Triples], unlabelled: NDArray[np.uint64], rows: NDArray[np.int64]
) -> Postings:
    live = np.zeros(int(rows.max(initial=-1)) + 1, np.bool_)
    live[rows] = True
    keys, docs, counts = (
        np.concatenate(column) for column in zip(*(part.triples() for part in parts), strict=True)
    )
    keep = docs < len(live)
    keep[keep] = live[docs[keep]]
    return Postings.build(*without(unlabelled, keys[keep], docs[keep], counts[keep]))


def _living_keys(tables: dict[str, KeyTable], columns: dict[str, NDArray[Any]]) -> dict[str, KeyTable]:
    """Return the keys of the living memories alone, and of their content hashes only those of today."""
    documents = RowTable(np.int64, -1)
    documents[columns["rows"]] = np.arange(len(columns["rows"]))
    living = {}
    for name, table in tables.items():
        digests, owners = table.packed()
        at = documents[owners]
        keep = at >= 0
        if name == "hash":
            keep[keep] = columns["hashes"][at[keep]] == heads(digests[keep])
        living[name] = KeyTable(digests[keep], owners[keep])
    return living
