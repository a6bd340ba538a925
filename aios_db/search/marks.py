"""What is looked for inside of a memory's lists and JSON, as keys beside the terms of its text.

A memory whose metadata is ``{"lang": "en"}`` stands in the inverted list of the key of that pair, as Lucene
keeps its keyword fields, and one that was made of others in the list of each of these. Marks are no part of
the text: they have no share in its length or in BM25.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.filter_values import Leaf, leaves
from aios_db.schema.filters import Comparison, columns
from aios_db.search.ranking import digest64

ORIGINS = "derived_from"
LISTS = (*columns(Comparison.HAS), ORIGINS)
OBJECTS = columns(Comparison.HOLDS)


@lru_cache(1 << 14)
def item_key(column: str, item: str) -> int:
    """Return the key of memories whose list ``column`` holds ``item``."""
    return digest64(f"item\0{column}\0{item}")


@lru_cache(1 << 14)
def leaf_key(column: str, leaf: Leaf) -> int:
    """Return the key of memories whose JSON ``column`` has this value at this path."""
    return digest64(f"leaf\0{column}\0{json.dumps(leaf)}")


def origin_keys(memory_ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return the key of the memories that were made of each memory; such keys are too many to be cached."""
    return np.array([item_key.__wrapped__(ORIGINS, each) for each in memory_ids], np.uint64)


def marks(batch: pa.RecordBatch) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return every mark's key and its row in ``batch``."""
    keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
    for column in LISTS:
        items = batch[column].flatten().fill_null("").dictionary_encode()
        distinct = items.dictionary.to_pylist()
        known = origin_keys(distinct) if column == ORIGINS else _item_keys(column, distinct)
        keys.append(known[items.indices.to_numpy()])
        rows.append(pc.list_parent_indices(batch[column]).to_numpy().astype(np.int32))
    for column in OBJECTS:
        given = np.flatnonzero(batch[column].is_valid().to_numpy(zero_copy_only=False))
        texts = batch[column].drop_null().to_pylist()
        found = [
            (leaf_key(column, leaf), row)
            for row, text in zip(given.tolist(), texts, strict=True)
            for leaf in _leaves(text)
        ]
        keys.append(np.array([key for key, _ in found], np.uint64))
        rows.append(np.array([row for _, row in found], np.int32))
    return np.concatenate(keys), np.concatenate(rows)


def _item_keys(column: str, items: Iterable[str]) -> NDArray[np.uint64]:
    return np.array([item_key(column, each) for each in items], np.uint64)


def _leaves(text: str) -> list[Leaf]:
    try:
        return list(leaves(json.loads(text)))
    except (ValueError, RecursionError):  # written by other means than this library's
        return []
