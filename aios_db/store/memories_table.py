"""The table of memories as it is read: hashes of compressed memories are whole (`short_hashes.py`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.store.short_hashes import COLUMN, SAID_BY, are_short, in_one, whole

_ID = "_rowid"


class Scan:
    """A scan of Lance's whose batches are changed as they are read.

    Parameters
    ----------
    stored
        The scan.
    change
        Returns a batch as it is shown.
    names
        The columns that are shown, of those that are scanned.
    """

    def __init__(
        self, stored: Any, change: Callable[[pa.RecordBatch], pa.RecordBatch], names: Sequence[str]
    ) -> None:
        self._stored, self._change, self._names = stored, change, list(names)
        schema = stored.projected_schema  # Lance plans the scan each time it is asked
        self.projected_schema = pa.schema([schema.field(each) for each in names])

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        for batch in self._stored.to_batches():
            yield self._change(batch).select(self._names)

    def to_table(self) -> pa.Table:
        """Return all rows."""
        return pa.Table.from_batches(self.to_batches(), self.projected_schema)

    def to_reader(self) -> pa.RecordBatchReader:
        """Return what yields the rows."""
        return pa.RecordBatchReader.from_batches(self.projected_schema, self.to_batches())


class MemoriesTable(lance.LanceDataset):
    """A version of `memories`; made by `as_read`. A filter sees hashes as they are stored."""

    def scanner(  # type: ignore[override]
        self, columns: Any = None, filter: Any = None, **options: Any
    ) -> Any:
        """Return Lance's scanner, or a `Scan` where hashes are among the columns."""
        names = self.schema.names if columns is None else columns
        if COLUMN not in names:
            return super().scanner(columns, filter, **options)
        by_id = options.pop("with_row_id", None)
        read = [each for each in names if each != _ID]
        stored = super().scanner(read, filter, with_row_id=True, **options)
        shown = [each for each in stored.projected_schema.names if by_id or each != _ID]
        return Scan(stored, self._whole, names if _ID in names else shown)

    def _take_rows(self, row_ids: Any, columns: Any = None, **options: Any) -> pa.Table:
        names = list(self.schema.names if columns is None else columns)
        if COLUMN not in names:
            return super()._take_rows(row_ids, columns, **options)
        found = super()._take_rows(row_ids, list(dict.fromkeys([*names, _ID])), **options)
        batches = [self._whole(each).select(names) for each in found.to_batches()]
        return pa.Table.from_batches(batches, found.select(names).schema)

    def __copy__(self) -> MemoriesTable:
        return as_read(super().__copy__())  # type: ignore[no-untyped-call]

    def _whole(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows, with their ids, with whole hashes; content that they lack is read."""
        short = are_short(batch[COLUMN])
        if not pc.any(short).as_py():
            return batch
        some = batch.filter(short)
        content = {name: some[name] for name in SAID_BY if name in batch.schema.names}
        if len(content) < len(SAID_BY):
            read = super()._take_rows(some[_ID].to_pylist(), list(SAID_BY))
            content = {name: in_one(read[name]) for name in SAID_BY}
        hashes = pc.replace_with_mask(batch[COLUMN], short, whole(some[COLUMN], content))
        return batch.set_column(batch.schema.get_field_index(COLUMN), batch.schema.field(COLUMN), hashes)


def as_read(dataset: lance.LanceDataset) -> MemoriesTable:
    """Return the same version of `memories` as it is to be read."""
    made = MemoriesTable.__new__(MemoriesTable)
    made.__dict__.update(copy.copy(dataset.__dict__))
    return made


def like(table: lance.LanceDataset, written: lance.LanceDataset) -> lance.LanceDataset:
    """Return a version that a commit to ``table`` gave, read as that is."""
    return as_read(written) if isinstance(table, MemoriesTable) else written
