"""Rows of `association_links`: one for each (source, target, kind), strengthened when repeated."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.association_links import SCHEMA
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.store.filters import row_filter

_GIVEN = ("source_id", "target_id", "kind", "weight")
_KEY = ("source_id", "target_id", "kind")


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


def new_links(given: pa.Table, evidence: pa.Array | None = None) -> pa.Table:
    """Return the stored rows of links that do not exist yet."""
    now = pa.array([datetime.now(timezone.utc)] * len(given), SCHEMA.field("created_at").type)
    evidence = pa.array(np.ones(len(given), np.int32)) if evidence is None else evidence
    columns = [given[name] for name in _GIVEN]
    return pa.table([*columns, evidence, now, now], schema=SCHEMA)


def upsert(dataset: lance.LanceDataset, given: pa.Table) -> int:
    """Write links; one that exists gets the new weight and one more evidence.

    Parameters
    ----------
    dataset
        A handle on the newest version, under the write lock; it moves to the version written.
    given
        As from `normalise`; both ends exist.

    Returns
    -------
    int
        How many distinct links were given.
    """
    rows = given.to_pylist()
    weights = {tuple(row[name] for name in _KEY): row["weight"] for row in rows}
    counts = dict.fromkeys(weights, 0)
    for row in rows:
        counts[tuple(row[name] for name in _KEY)] += 1
    sources = pa.array(sorted({source for source, _, _ in weights}), pa.string())
    stored = dataset.to_table(
        columns=list(_KEY), filter=pc.field("source_id").isin(sources), with_row_id=True
    ).to_pylist()
    row_of = {tuple(row[name] for name in _KEY): row["_rowid"] for row in stored}

    # Lance updates one expression for all rows of a filter, so rows that change alike go together.
    alike: dict[tuple[float, int], list[int]] = {}
    for key in weights.keys() & row_of.keys():
        alike.setdefault((weights[key], counts[key]), []).append(row_of[key])
    for (weight, count), row_ids in sorted(alike.items()):
        changes = {
            "weight": repr(weight),
            "evidence_count": f"evidence_count + {count}",
            "reinforced_at": "now()",
        }
        dataset.update(changes, where=row_filter(row_ids))
    fresh = [key for key in weights if key not in row_of]
    if fresh:
        columns = dict(zip(_KEY, zip(*fresh, strict=True), strict=True))
        table = pa.table({**columns, "weight": pa.array([weights[key] for key in fresh], pa.float32())})
        dataset.insert(new_links(table, pa.array([counts[key] for key in fresh], pa.int32())))
    return len(weights)
