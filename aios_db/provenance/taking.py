"""What provenance says of rows as they are stored: their source, and what may change a trusted memory."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from aios_db.provenance.policy import SourceTrust
from aios_db.search.index import SearchIndex


def with_source(rows: pa.Table, source: str, of: pa.Array | None = None) -> pa.Table:
    """Return rows with ``source`` where they have none, or only where ``of`` says so."""
    given = rows["source"].combine_chunks()
    wanting = given.is_null() if of is None else pc.and_(given.is_null(), of)
    return _with(rows, "source", pc.if_else(wanting, pa.scalar(source, pa.string()), given))


def of_source(rows: pa.Table, source: str | None) -> pa.Table:
    """Return rows of which all have a source, whatever they say themselves; as they are where it is None."""
    if source is None:
        return rows
    column = pa.array([source] * len(rows), pa.string())
    place = rows.schema.get_field_index("source")
    return rows.append_column("source", column) if place < 0 else rows.set_column(place, "source", column)


def inheriting(rows: pa.Table, index: SearchIndex) -> pa.Table:
    """Return rows with no more trust than what they are ``derived_from`` has."""
    column = rows["derived_from"].combine_chunks()
    if column.null_count == len(column):
        return rows
    shares = rows["trust"].to_pylist()
    origins = [each or "" for each in column.flatten().to_pylist()]
    least = index.trust(index.find_ids(origins)).tolist()
    for row, share in zip(pc.list_parent_indices(column).to_pylist(), least, strict=True):
        if share < 1:
            shares[row] = min(1.0 if shares[row] is None else shares[row], share)
    return _with(rows, "trust", pa.array(shares, rows["trust"].type))


def heeded(  # noqa: PLR0917 - what is given, what is stored, and who may change it
    again: pa.Table,
    stored: pa.Table,
    names: list[str],
    replaced: pa.Array,
    source: str,
    policy: SourceTrust,
) -> pa.Table:
    """Return what is given of memories that are remembered again, without what a source may not change.

    One that is trusted less than the source of a memory changes nothing about it but that it was said again:
    neither where it comes from nor its metadata.

    Parameters
    ----------
    again, stored
        The rows, and the memories that they are.
    names
        What may be left out.
    replaced
        Rows that become what is given as a whole, source and text: nothing is left out.
    source
        Of rows that name none.
    policy
        Trust by source.
    """
    rows = [
        not whole and policy.of(given or source) < policy.of(before)
        for whole, given, before in zip(
            replaced.to_pylist(), again["source"].to_pylist(), stored["source"].to_pylist(), strict=True
        )
    ]
    if not any(rows):
        return again
    kept = pa.array([None if ignored else place for place, ignored in enumerate(rows)], pa.int64())
    for name in names:
        again = _with(again, name, again[name].combine_chunks().take(kept))
    return again


def _with(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
