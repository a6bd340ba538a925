"""What differs between two versions of a table, row by row."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.errors import OperationalError
from aios_db.schema.memories import DERIVED
from aios_db.search.source import changed, deleted
from aios_db.store.changes import differs

_VECTOR, _MADE_BY = "text_embedding", "text_weight_version"
_ID = "_rowid"


@dataclass(frozen=True)
class Difference:
    """Rows with all columns of the table and their ``_rowid``."""

    added: pa.Table
    """Of the newer version, where the older one has no such row."""
    deleted: pa.Table
    """Of the older version, where the newer one has no such row."""
    old: pa.Table
    """Of the older version, where both have the row and it differs."""
    new: pa.Table
    """What these are in the newer version, in the same order."""

    @property
    def lost(self) -> pa.Table:
        """What the older version has and the newer one has not, or not so."""
        return pa.concat_tables([self.deleted, self.old])

    def __bool__(self) -> bool:
        return bool(len(self.added) or len(self.deleted) or len(self.old))


def difference(old: lance.LanceDataset, new: lance.LanceDataset) -> Difference:
    """Compare two versions of one table; the cost follows what was written between them.

    Raises
    ------
    OperationalError
        A migration between them changed the columns.
    """
    if old.schema != new.schema:
        raise OperationalError(
            f"version {old.version} of {new.uri} has other columns, from before the database was migrated"
        )
    names = new.schema.names
    if old.version == new.version:
        nothing = rows_at(new, np.empty(0, np.int64))
        return Difference(nothing, nothing, nothing, nothing)
    gone = deleted(new, old.version, lambda: _all_rows(old))
    found = pa.Table.from_batches(
        list(changed(new, old.version, tuple(names))), _with_id(new.schema)
    ).combine_chunks()
    before = rows_at(old, row_ids(found))
    there = np.isin(row_ids(found), row_ids(before))
    after = found.filter(pa.array(there))
    other = pa.array(unlike(before, after))
    return Difference(
        found.filter(pa.array(~there)), rows_at(old, gone), before.filter(other), after.filter(other)
    )


def rows_at(dataset: lance.LanceDataset, wanted: NDArray[np.int64]) -> pa.Table:
    """Return those of some rows, by their ids, that a version has, in their order."""
    names = [*dataset.schema.names, _ID]
    return dataset._take_rows(wanted.tolist(), columns=names).select(names).combine_chunks()


def row_ids(rows: pa.Table) -> NDArray[np.int64]:
    """Return the Lance row ids of rows that were read with them."""
    found: NDArray[np.int64] = rows[_ID].to_numpy().astype(np.int64)
    return found


def unlike(first: pa.Table, second: pa.Table, ignoring: Collection[str] = ()) -> NDArray[np.bool_]:
    """Tell which rows of two tables of equal length differ.

    Columns that are derived do not count, nor do vectors that weights have made of one text.
    """
    found = np.zeros(len(first), np.bool_)
    for name in first.column_names:
        if name in {_ID, _MADE_BY, *DERIVED, *ignoring}:
            continue
        other = differs(first[name], second[name]) if len(first) else found
        if name == _VECTOR:
            other &= _is_given(first) & _is_given(second)
        found |= other
    return found


def _is_given(rows: pa.Table) -> NDArray[np.bool_]:
    """Tell of which rows the vector is the user's own, and not made of the text."""
    found: NDArray[np.bool_] = rows[_MADE_BY].is_null().to_numpy()
    return found


def _all_rows(dataset: lance.LanceDataset) -> NDArray[np.int64]:
    found: NDArray[np.int64] = dataset.to_table(columns=[_ID])[_ID].to_numpy().astype(np.int64)
    return found


def _with_id(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field(_ID, pa.uint64()))


def where(rows: pa.Table, chosen: NDArray[np.bool_]) -> pa.Table:
    """Return the rows of which ``chosen`` is true."""
    return rows.filter(pa.array(chosen, pa.bool_()))


def is_among(column: pa.ChunkedArray, values: pa.Array) -> NDArray[np.bool_]:
    """Tell of which rows a column has one of some values."""
    found: NDArray[np.bool_] = pc.is_in(column, values).to_numpy().astype(np.bool_)
    return found
