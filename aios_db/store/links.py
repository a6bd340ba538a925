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

from aios_db.schema.association_links import SCHEMA
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.store.commit import commit, delete

_GIVEN = ("source_id", "target_id", "kind", "weight")
_KEY = ("source_id", "target_id", "kind")
_TOGETHER = "recalled_together"
_WEAKER = 0.9


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


def upsert(dataset: lance.LanceDataset, given: pa.Table) -> tuple[lance.LanceDataset, int]:
    """Write links in one commit; one that exists gets the new weight and one more evidence.

    Parameters
    ----------
    dataset
        The newest version, under the write lock.
    given
        As from `normalise`; both ends exist.

    Returns
    -------
    tuple of lance.LanceDataset and int
        The version written, and how many distinct links were given.
    """
    rows = given.to_pylist()
    keys = [tuple(row[name] for name in _KEY) for row in rows]
    evidence = Counter(keys)
    weights = dict(zip(keys, (row["weight"] for row in rows), strict=True))
    stored = between(dataset, {source for source, _, _ in weights})
    old = [row for row in stored if tuple(row[name] for name in _KEY) in weights]
    for row in old:
        key = tuple(row[name] for name in _KEY)
        row["weight"] = weights.pop(key)
        row["evidence_count"] += evidence[key]
    new = [(*key, weight, evidence[key]) for key, weight in weights.items()]
    return write(dataset, new=new, old=old), len(evidence)


def reinforce(dataset: lance.LanceDataset, pairs: Mapping[tuple[str, str], int]) -> lance.LanceDataset:
    """Strengthen what links memories that were recalled together; link those that nothing links.

    Each joint recall is one more evidence of every link between the two. The weight of a `recalled_together`
    link after n of them is 1 - 0.9^n; other weights mean something else and stay.

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
    new = [
        (*pair, _TOGETHER, 1 - _WEAKER**times, times) for pair, times in pairs.items() if pair not in linked
    ]
    return write(dataset, new=new, old=old)


def between(dataset: lance.LanceDataset, sources: Collection[str]) -> list[dict[str, Any]]:
    """Return the links that start at these memories, with their row ids; the ids are the store's own."""
    wanted = pc.field("source_id").isin(pa.array(sorted(sources), pa.string()))
    found: list[dict[str, Any]] = dataset.to_table(
        columns=[*_GIVEN, "evidence_count"], filter=wanted, with_row_id=True
    ).to_pylist()
    return found


def delete_at(dataset: lance.LanceDataset, memory_ids: pa.Array) -> tuple[lance.LanceDataset, list[str]]:
    """Delete every link that starts or ends at these memories.

    Returns
    -------
    tuple of lance.LanceDataset and list of str
        The version written, and the memories that the deleted links started at.
    """
    ends = pc.field("source_id").isin(memory_ids) | pc.field("target_id").isin(memory_ids)
    found = dataset.to_table(columns=["source_id"], filter=ends, with_row_id=True)
    return delete(dataset, found["_rowid"].to_numpy()), found["source_id"].unique().to_pylist()


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
