"""The columns of memories that a search returns, by row id: mapped, and in memory what came since.

A search names a few memories anywhere in the table, and to read twenty columns of them from Lance takes
longer than to find them. The rows of a segment are Arrow record batches in the order of its documents, in an
IPC file that is mapped (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.amounts import amount
from aios_db.schema.memories import KEY, returned_schema
from aios_db.schema.retrieval import RowIds
from aios_db.search.recent_table import RecentTable

_SCHEMA = returned_schema()
_PACKED = _SCHEMA.remove(_SCHEMA.get_field_index(KEY))
_LEVEL, _QUICK_LEVEL = 12, 1  # of Zstandard
_BLOCK_ROWS = 8192
_BATCH_BYTES = 1 << 30  # an array of strings ends at twice that
_FEW_ROWS = 32  # are copied one by one; above, a copy from each batch and bringing them in order is faster
_MOST_RECENT = 128  # batches in memory
_OFFSET = (1 << 32) - 1


class StoredRows:
    """Rows of memories by row id.

    Parameters
    ----------
    batches
        The rows of a segment's documents, one after the other.
    documents
        Returns the document of each row id, or -1.
    first
        The row id from which on rows came since the segment, but for those that have become others.
    """

    def __init__(
        self, batches: Sequence[pa.RecordBatch], documents: Callable[[RowIds], RowIds], first: int = 0
    ) -> None:
        self._documents = documents
        self._batches = list(batches)
        self._segment_batches = len(self._batches)
        self._starts = np.cumsum([0, *(len(batch) for batch in self._batches)])
        self._place = RecentTable(-1, first)  # batch << 32 | row in it, of what came since the segment
        self._recent = 0

    def put(self, batch: pa.RecordBatch) -> None:
        """Add rows, or new values of rows: ``batch`` has ``_rowid`` and the columns of `returned_schema`."""
        row_ids = batch["_rowid"].to_numpy().astype(np.int64)
        columns = (batch[field.name] for field in _SCHEMA)
        # `RecordBatch.cast` casts each column, whether it is of its type or not.
        cast = [
            column if column.type == field.type else column.cast(field.type)
            for column, field in zip(columns, _SCHEMA, strict=True)
        ]
        self._add(row_ids, pa.RecordBatch.from_arrays(cast, schema=_SCHEMA))
        if len(self._batches) - self._segment_batches > _MOST_RECENT:
            self._merge_recent()

    def take(self, row_ids: RowIds, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return rows, in the order of their ids.

        Parameters
        ----------
        row_ids
            int64; each must be that of a memory that was put, or lies in the segment.
        columns
            Names of columns; by default all of `returned_schema`.
        """
        place = self._place[row_ids]
        old = np.flatnonzero(place < 0)
        if len(old):
            documents = self._documents(row_ids[old])
            which = np.searchsorted(self._starts, documents, side="right") - 1
            place[old] = (which << 32) | (documents - self._starts[which])
        return self._gather(place, columns)

    @property
    def recent(self) -> int:
        """How many rows were put since the segment was written."""
        return self._recent

    def copy(self) -> StoredRows:
        """Return rows that later calls of `put` do not change."""
        copied = copy(self)
        copied._batches, copied._place = list(self._batches), self._place.copy()
        return copied

    def blocks(self, row_ids: RowIds) -> list[pa.RecordBatch]:
        """Return the rows of a new segment's documents, in few batches, as long as Arrow lets strings be."""
        batches: list[pa.RecordBatch] = []
        waiting: list[pa.RecordBatch] = []
        for start in range(0, len(row_ids), _BLOCK_ROWS):
            for block in self._without_overflow(row_ids[start : start + _BLOCK_ROWS]):
                if sum(each.nbytes for each in waiting) + block.nbytes > _BATCH_BYTES:
                    batches.append(pa.concat_batches(waiting))
                    waiting = []
                waiting.append(block)
        return [*batches, pa.concat_batches(waiting)] if waiting else batches

    def _without_overflow(self, row_ids: RowIds) -> Iterator[pa.RecordBatch]:
        try:
            yield self.take(row_ids)
        except pa.ArrowInvalid:  # more text than one array holds
            if len(row_ids) < 2:
                raise
            middle = len(row_ids) // 2
            yield from self._without_overflow(row_ids[:middle])
            yield from self._without_overflow(row_ids[middle:])

    def _gather(self, place: NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.RecordBatch:
        if len(place) == 0:
            return _only(pa.RecordBatch.from_pylist([], schema=_SCHEMA), columns)
        which, offsets = place >> 32, place & _OFFSET
        first = int(which[0])
        if (which == first).all():
            return _only(self._batches[first], columns).take(pa.array(offsets))
        if len(place) <= _FEW_ROWS:
            places = zip(which.tolist(), offsets.tolist(), strict=True)
            return pa.concat_batches([_only(self._batches[at], columns).slice(row, 1) for at, row in places])
        order = np.argsort(which, kind="stable")
        distinct, starts = np.unique(which[order], return_index=True)
        groups = np.split(offsets[order], starts[1:])
        pieces = [
            _only(self._batches[number], columns).take(pa.array(group))
            for number, group in zip(distinct.tolist(), groups, strict=True)
        ]
        return pa.concat_batches(pieces).take(pa.array(np.argsort(order, kind="stable")))

    def _add(self, row_ids: RowIds, batch: pa.RecordBatch) -> None:
        self._place[row_ids] = (len(self._batches) << 32) | np.arange(len(row_ids))
        self._batches.append(batch)
        self._recent += len(row_ids)

    def _merge_recent(self) -> None:
        """Bring what came since the segment into one batch, without what has been replaced."""
        row_ids = self._place.keys()
        batch = self._gather(self._place[row_ids])
        del self._batches[self._segment_batches :]
        self._recent = 0
        self._add(row_ids, batch)


def _only(batch: pa.RecordBatch, columns: Sequence[str] | None) -> pa.RecordBatch:
    return batch if columns is None else batch.select(columns)


def write(path: Path, batches: Sequence[pa.RecordBatch]) -> None:
    """Write a segment's rows as an Arrow IPC file."""
    _write(path, batches, _SCHEMA)


def write_packed(path: Path, batches: Sequence[pa.RecordBatch], *, quickly: bool = False) -> None:
    """Write a segment's rows without their ids, which are an array of it, and compressed."""
    codec = pa.Codec("zstd", _QUICK_LEVEL if quickly else _LEVEL)
    _write(path, [each.select(_PACKED.names) for each in batches], _PACKED, codec)


def _write(
    path: Path, batches: Sequence[pa.RecordBatch], schema: pa.Schema, codec: pa.Codec | None = None
) -> None:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)


def read(path: Path) -> list[pa.RecordBatch]:
    """Map a segment's rows.

    Raises
    ------
    ValueError
        The file is not one that `write` wrote.
    """
    return _read(pa.memory_map(str(path)), path, _SCHEMA)


def read_packed(path: Path, ids: NDArray[np.bytes_]) -> list[pa.RecordBatch]:
    """Return a segment's rows with their ids.

    Raises
    ------
    ValueError
        The file is not one that `write_packed` wrote, or of other memories.
    """
    batches = _read(pa.BufferReader(path.read_bytes()), path, _PACKED)
    if sum(map(len, batches)) != len(ids):
        raise ValueError(f"{path} has not one row for each of {amount(len(ids), 'memory')}")
    found, start = [], 0
    for batch in batches:
        names = pa.array(ids[start : start + len(batch)].astype(str).tolist(), pa.string())
        start += len(batch)
        columns = [names if name == KEY else batch[name] for name in _SCHEMA.names]
        found.append(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))
    return found


def _read(source: pa.NativeFile, path: Path, schema: pa.Schema) -> list[pa.RecordBatch]:
    file = pa.ipc.open_file(source)
    if file.schema != schema:
        raise ValueError(f"{path} has other columns than memories have")
    return [file.get_batch(number) for number in range(file.num_record_batches)]
