"""What provenance says of rows as they are stored: their source and trust, and what of them counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.provenance.authority import Trusts, said
from aios_db.schema.memories import SCOPE, WRITABLE
from aios_db.search.index import SearchIndex

# Equal by definition in a memory that is remembered again.
CONTENT = frozenset({"kind", "title", "text", "media", "media_uri", "speaker", *SCOPE})
_GIVEN = tuple(name for name in WRITABLE if name not in CONTENT)


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


def heeded(  # noqa: PLR0917 - what is given, who gives it, and what is known
    again: pa.Table,
    authority: Trusts,
    first: Trusts,
    before: Trusts,
    replaced: NDArray[np.bool_],
    entry: str,
) -> pa.Table:
    """Return what is given of memories that are remembered again, as far as it counts.

    Where the source is trusted less than the memory, it changes nothing of it but that it was said again.
    Where it is trusted more than the source that the memory has, the memory becomes its own: source, trust
    and lineage are what is given, so that it stands when whoever said it first is taken back.

    Parameters
    ----------
    again
        The rows.
    authority
        How much the source of each is trusted.
    first
        How much the source that the memory has is.
    before
        How much the memory is.
    replaced
        Rows that become what is given as a whole.
    entry
        The source of rows that name none.
    """
    kept = pa.array(~replaced & (authority < before))
    if pc.any(kept).as_py():
        for name in _GIVEN:
            column = again[name].combine_chunks()
            again = _with(again, name, pc.if_else(kept, pa.scalar(None, column.type), column))
    raised = ~replaced & (authority > first) & (said(again, authority) > before)
    if raised.any():
        of = pa.array(raised)
        again = with_source(again, entry, of)
        for name, default in (("trust", 1.0), ("derived_from", [])):
            column = again[name].combine_chunks()
            wanting = pc.and_(of, column.is_null())
            again = _with(again, name, pc.if_else(wanting, pa.scalar(default, column.type), column))
    return again


def _with(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
