"""Rows of `association_links`: one for each (source, target, kind), strengthened when repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.association_links import NAMED, SCHEMA
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.store.commit import commit, delete

_GIVEN = ("source_id", "target_id", "kind", "weight")
_KEY = ("source_id", "target_id", "kind")
_TOGETHER = "recalled_together"
_WEAKER = 0.9
_MOST_TOGETHER = 16  # links of one memory that recall alone makes


def normalise(links: pa.Table) -> pa.Table:
    """Return links as given by a caller in their stored types, one row each.

    Parameters
    ----------
    links
        Columns ``source_id``, ``target_id``, ``kind`` (default "user") and ``weight`` (default 1.0).

    Raises
    ------
    ProgrammingError
        For an unknown or missing column.
    DataError
        With the row's number, for a NULL, an empty kind, a weight outside (0, 1] or a link to itself.
    """
    for name in links.column_names:
        if name not in _GIVEN:
            raise ProgrammingError(f"link has no column {name!r}; it takes {', '.join(_GIVEN)}")
    columns = {}
    for name, default in zip(_GIVEN, (None, None, "user", 1.0), strict=True):
        if name in links.column_names:
            try:
                columns[name] = links[name].combine_chunks().cast(SCHEMA.field(name).type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(f"column {name!r} of link: {error}") from error
        elif default is None:
            raise ProgrammingError(f"link needs the column {name!r}; it takes {', '.join(_GIVEN)}")
        else:
            columns[name] = pa.array([default] * len(links), SCHEMA.field(name).type)
    for number, row in enumerate(pa.table(columns).to_pylist()):
        _check(row, number)
    return pa.table(columns)


def _check(row: dict[str, Any], number: int) -> None:
    for name in _GIVEN:
        if row[name] is None:
            raise DataError(f"row {number}: {name} of a link is NULL")
    if not row["kind"].strip():
        raise DataError(f"row {number}: the kind of a link is empty")
    if not 0 < row["weight"] <= 1:  # false for NaN
        raise DataError(f"row {number}: the weight of a link is {row['weight']}; it is in (0, 1]")
    if row["source_id"] == row["target_id"]:
        raise DataError(f"row {number}: memory {row['source_id']} is linked to itself")


def upsert(
    dataset: lance.LanceDataset, given: pa.Table, *, exactly: bool = False
) -> tuple[lance.LanceDataset, int]:
    """Write links in one commit; one that exists gets the greater weight and one more evidence.

    Parameters
    ----------
    dataset
        The newest version, under the write lock.
    given
        As from `normalise`; both ends exist.
    exactly
        One that exists gets the weight given, even a smaller one.

    Returns
    -------
    tuple of lance.LanceDataset and int
        The version written, and how many distinct links were given.
    """
    rows = given.to_pylist()
    keys = [tuple(row[name] for name in _KEY) for row in rows]
    evidence = Counter(keys)
    weights: dict[tuple[Any, ...], float] = {}
    for key, row in zip(keys, rows, strict=True):
        weights[key] = max(row["weight"], weights.get(key, 0))
    stored = between(dataset, {source for source, _, _ in weights})
    old = [row for row in stored if tuple(row[name] for name in _KEY) in weights]
    for row in old:
        key = tuple(row[name] for name in _KEY)
        weight = weights.pop(key)
        row["weight"] = weight if exactly else max(row["weight"], weight)
        row["evidence_count"] += evidence[key]
    new = [(*key, weight, evidence[key]) for key, weight in weights.items()]
    return write(dataset, new=new, old=old), len(evidence)


def reinforce(dataset: lance.LanceDataset, pairs: Mapping[tuple[str, str], int]) -> lance.LanceDataset:
    """Strengthen what links memories that were recalled together; link those that nothing links.

    Each joint recall is one more evidence of every link between the two. The weight of a `recalled_together`
    link after n of them is 1 - 0.9^n; other weights mean something else and stay. A memory gets 16 such
    links at most, so that links follow the number of memories and not of recalls.

    Parameters
    ----------
    dataset
        The newest version, under the write lock.
    pairs
        How often two existing memories, the smaller id first, were recalled together.
    """
    old, linked = [], set()
    for row in between(dataset, {each for pair in pairs for each in pair}):
        first, second = sorted((row["source_id"], row["target_id"]))
        times = pairs.get((first, second), 0)
        if times:
            linked.add((first, second))
            row["evidence_count"] += times
            if row["kind"] == _TOGETHER:
                row["weight"] = 1 - _WEAKER**times * (1 - row["weight"])
            old.append(row)
    unlinked = {pair: times for pair, times in pairs.items() if pair not in linked}
    new = [
        (*pair, _TOGETHER, 1 - _WEAKER ** unlinked[pair], unlinked[pair]) for pair in _room(dataset, unlinked)
    ]
    return write(dataset, new=new, old=old)


def _room(dataset: lance.LanceDataset, pairs: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Return the pairs, those recalled most often first, both of which may have one more link by recall."""
    if not pairs:
        return []
    ends = pa.array(sorted({each for pair in pairs for each in pair}), pa.string())
    touching = pc.field("source_id").isin(ends) | pc.field("target_id").isin(ends)
    found = dataset.to_table(
        columns=["source_id", "target_id"], filter=(pc.field("kind") == _TOGETHER) & touching
    )
    links = Counter(found["source_id"].to_pylist() + found["target_id"].to_pylist())
    taken = []
    for pair in sorted(pairs, key=lambda each: (-pairs[each], each)):
        if all(links[each] < _MOST_TOGETHER for each in pair):
            links.update(pair)
            taken.append(pair)
    return taken


def between(dataset: lance.LanceDataset, sources: Collection[str]) -> list[dict[str, Any]]:
    """Return the links that start at these memories, with their row ids; the ids are the store's own."""
    wanted = pc.field("source_id").isin(pa.array(sorted(sources), pa.string()))
    found: list[dict[str, Any]] = dataset.to_table(
        columns=[*_GIVEN, "evidence_count"], filter=wanted, with_row_id=True
    ).to_pylist()
    return found


def delete_named(dataset: lance.LanceDataset, keys: pa.Table) -> tuple[lance.LanceDataset, list[str], int]:
    """Delete the links with these keys.

    Returns
    -------
    tuple of lance.LanceDataset, list of str and int
        The version written, the memories that the deleted links started at, and how many they were.
    """
    wanted = {tuple(row[name] for name in _KEY) for row in keys.to_pylist()}
    stored = between(dataset, {source for source, _, _ in wanted}) if wanted else []
    found = [row for row in stored if tuple(row[name] for name in _KEY) in wanted]
    row_ids = np.array([row["_rowid"] for row in found], np.int64)
    written = delete(dataset, row_ids) if found else dataset
    return written, sorted({row["source_id"] for row in found}), len(found)


def delete_at(
    dataset: lance.LanceDataset,
    memory_ids: pa.Array,
    kinds: Sequence[str] | None = None,
    *,
    staying: bool = False,
) -> tuple[lance.LanceDataset, pa.ChunkedArray]:
    """Delete every link, or those of some kinds, that starts or ends at these memories.

    Where the memories are ``staying``, so do links of the kinds `NAMED` that end there: they follow from the
    other memory.

    Returns
    -------
    tuple of lance.LanceDataset and pa.ChunkedArray
        The version written, and of each deleted link the memory that it started at.
    """
    starts = pc.field("source_id").isin(memory_ids)
    ends = starts | pc.field("target_id").isin(memory_ids)
    if staying:
        ends = ends & (starts | ~pc.field("kind").isin(NAMED))
    if kinds is not None:
        ends = ends & pc.field("kind").isin(list(kinds))
    found = dataset.to_table(columns=["source_id"], filter=ends, with_row_id=True)
    return delete(dataset, found["_rowid"].to_numpy()), found["source_id"]


def write(
    dataset: lance.LanceDataset,
    new: Sequence[tuple[str, str, str, float, int]],
    old: Sequence[Mapping[str, Any]] = (),
) -> lance.LanceDataset:
    """Insert ``new`` links (source, target, kind, weight, evidence), change ``old`` ones: one commit."""
    given = zip(*new, strict=True) if new else ((),) * 5
    columns = [pa.array(list(each), field.type) for each, field in zip(given, SCHEMA, strict=False)]
    changes = {
        name: pa.array([row[name] for row in old], SCHEMA.field(name).type)
        for name in ("weight", "evidence_count")
    }
    changes["reinforced_at"] = _now(len(old))
    row_ids = np.array([row["_rowid"] for row in old], np.int64)
    return commit(dataset, stored_links(*columns), row_ids, changes)


def stored_links(
    sources: pa.Array, targets: pa.Array, kinds: pa.Array, weights: pa.Array, evidence: pa.Array | None = None
) -> pa.Table:
    """Return new links as rows of the table, made now; one evidence each when not said otherwise."""
    evidence = pa.array(np.ones(len(sources), np.int32)) if evidence is None else evidence
    now = _now(len(sources))
    return pa.table([sources, targets, kinds, weights, evidence, now, now], schema=SCHEMA)


def _now(length: int) -> pa.Array:
    return pa.repeat(pa.scalar(datetime.now(timezone.utc), SCHEMA.field("created_at").type), length)
