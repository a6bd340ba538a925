"""What provenance says of rows as they are stored: their source and trust, and what of them counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import SCOPE
from aios_db.search.answers import Answers
from aios_db.trust.authority import Trusts, said

# Equal by definition in a memory that is remembered again.
CONTENT = frozenset({"kind", "title", "text", "media", "media_uri", "audio", "audio_uri", "speaker", *SCOPE})


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


def inheriting(rows: pa.Table, index: Answers) -> pa.Table:
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


@dataclass(frozen=True)
class Repeated:
    """What becomes of memories that are said again, by the trust in who says it; false of new ones."""

    outdone: NDArray[np.bool_]
    """Who says it is trusted more than who did: the memory becomes as if nobody had said it before."""
    kept: NDArray[np.bool_]
    """Who says it is trusted less than the memory: of that nothing changes but that it was accessed."""

    @classmethod
    def between(
        cls, again: pa.Table, authority: Trusts, first: Trusts, before: Trusts, named: NDArray[np.bool_]
    ) -> Repeated:
        """Return what counts of rows.

        Parameters
        ----------
        again
            The rows, which trust no more than what they are derived from.
        authority
            How much the source of each is trusted.
        first
            How much the source that the memory has is.
        before
            How much the memory is.
        named
            Rows that replace the memory by its ``external_id``.
        """
        more = named | (said(again, authority) > before)
        return cls((authority > first) & more, ~named & (authority < before))

    def take(self, places: NDArray[np.int64]) -> Repeated:
        """Return it for some of the rows."""
        return Repeated(self.outdone[places], self.kept[places])


def _with(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
