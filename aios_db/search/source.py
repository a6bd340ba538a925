"""What changed in the Lance tables since a version: the only place where the index meets Lance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import CODE_FIELD, VECTORS, returned_schema
from aios_db.schema.retrieval import RowIds
from aios_db.search.attributes import text_vectors
from aios_db.search.rowtable import RowTable

if TYPE_CHECKING:
    from lance import LanceDataset
    from lance.fragment import LanceFragment

logger = logging.getLogger("aios_db.search")

MEMORY_COLUMNS = (*returned_schema().names, "content_hash", *VECTORS, CODE_FIELD.name)
LINK_COLUMNS = ("source_id", "target_id", "kind", "weight")
_BATCH_ROWS = 8192
_FEW_ROWS = 256


@dataclass(frozen=True)
class Appended:
    """The rows, in order, that the last commit of a table appended, if it did nothing else.

    None means that they must be read.
    """

    memories: pa.Table | None = None
    links: pa.Table | None = None


NOTHING = Appended()


def delta(  # noqa: PLR0917
    dataset: LanceDataset,
    since: int,
    columns: tuple[str, ...],
    known: Callable[[], RowIds],
    appended: pa.Table | None = None,
    where: pc.Expression | None = None,
) -> tuple[RowIds, Iterator[pa.RecordBatch]]:
    """Return the row ids deleted after version ``since``, and the rows inserted or updated after it.

    Parameters
    ----------
    since
        -1 for the whole table.
    columns
        Read of each row, with its ``_rowid``.
    known
        Returns the row ids of version ``since``; called when that version has been cleaned up.
    appended
        As in `Appended`; of no use when there was another commit since.
    where
        What is wanted of the whole table; of later changes all are returned.
    """
    if since < 0:
        return np.empty(0, np.int64), _whole(dataset, [*columns, "_rowid"], where)
    if appended is not None and dataset.version == since + 1:
        return np.empty(0, np.int64), _with_row_ids(dataset, appended.select(columns))
    return deleted(dataset, since, known), changed(dataset, since, columns)


def vectors(dataset: LanceDataset, rows: RowIds) -> NDArray[np.float32]:
    """Return the text vectors of rows, float32 ``(len(rows), dimension)``; zeros of those that are gone."""
    found = np.zeros((len(rows), dataset.schema.field(VECTORS[0]).type.list_size), np.float32)
    places = RowTable(np.int64, -1)
    places[rows] = np.arange(len(rows))
    columns = [VECTORS[0], CODE_FIELD.name, "_rowid"]
    for batch in dataset.scanner(columns=columns, batch_size=_BATCH_ROWS).to_batches():
        at = places[batch["_rowid"].to_numpy().astype(np.int64)]
        found[at[at >= 0]] = text_vectors(batch)[at >= 0]
    return found


def _whole(
    dataset: LanceDataset, columns: list[str], where: pc.Expression | None
) -> Iterator[pa.RecordBatch]:
    """Yield all rows in the order of their ids, in blocks that do not depend on where they lie.

    What is summed over them, in floating point, is then the same whatever else was in the table before, and
    however its rows have moved.
    """
    found = dataset.to_table(columns=[], filter=where, with_row_id=True)["_rowid"].to_numpy()
    if (found[1:] > found[:-1]).all():
        yield from _in_blocks(
            dataset.scanner(columns=columns, filter=where, batch_size=_BATCH_ROWS).to_batches()
        )
        return
    found = np.sort(found)
    for start in range(0, len(found), _BATCH_ROWS):
        rows = dataset._take_rows(found[start : start + _BATCH_ROWS].tolist(), columns=columns)
        yield from rows.combine_chunks().to_batches()


def _in_blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in blocks of one size."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        start = 0
        while count + len(batch) - start >= _BATCH_ROWS:
            end = start + _BATCH_ROWS - count
            yield pa.concat_batches([*waiting, batch.slice(start, end - start)])
            waiting, count, start = [], 0, end
        if start < len(batch):
            waiting.append(batch.slice(start))
            count += len(batch) - start
    if waiting:
        yield pa.concat_batches(waiting)


def _with_row_ids(dataset: LanceDataset, appended: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the last rows of a table, which are at hand, with their ids."""
    fragments: list[LanceFragment] = dataset.get_fragments()
    row_ids: list[int] = []
    while len(row_ids) < len(appended):
        row_ids[:0] = _row_ids(fragments.pop())
    assert len(row_ids) == len(appended), "a fragment belongs to one commit"
    rows = appended.append_column("_rowid", pa.array(row_ids, pa.uint64()))
    yield from rows.combine_chunks().to_batches(_BATCH_ROWS)


def changed(dataset: LanceDataset, since: int, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Yield the rows inserted or updated after version ``since`` with their ``_rowid``; all when it is -1.

    Such a row always lies in a fragment that version did not have, or had with other files, so that only such
    fragments are read: a few rows by their ids, since planning a scan costs more than they do.
    """
    names = [*columns, "_rowid"]
    if since < 0:
        yield from dataset.scanner(columns=names, batch_size=_BATCH_ROWS).to_batches()
        return
    fragments = _new_fragments(dataset, since)
    if sum(each.metadata.physical_rows for each in fragments) <= _FEW_ROWS:
        row_ids = list({row for each in fragments for row in _row_ids(each)})
        rows = _take(dataset, row_ids, [*names, "_row_last_updated_at_version"])
        # A fragment that a compaction made holds older rows as well.
        new = rows["_row_last_updated_at_version"].to_numpy() > since
        yield from rows.select(names).filter(pa.array(new)).combine_chunks().to_batches()
    else:
        yield from dataset.scanner(
            columns=names,
            filter=f"_row_last_updated_at_version > {since}",
            fragments=fragments,
            batch_size=_BATCH_ROWS,
        ).to_batches()


def _take(dataset: LanceDataset, row_ids: list[int], columns: list[str]) -> pa.Table:
    """Return rows in the order they lie in: in another one Lance 14 cannot take a row's version."""
    places = dataset._take_rows(row_ids, columns=["_rowid", "_rowaddr"])
    order = np.argsort(places["_rowaddr"].to_numpy())
    return dataset._take_rows(places["_rowid"].to_numpy()[order].tolist(), columns=columns)


def _new_fragments(dataset: LanceDataset, since: int) -> list[LanceFragment]:
    fragments: list[LanceFragment] = dataset.get_fragments()
    try:
        old = {_files(each) for each in dataset.checkout_version(since).get_fragments()}
    except (OSError, ValueError, RuntimeError):  # which of them differs between Lance's versions
        return fragments
    return [each for each in fragments if _files(each) not in old]


def _files(fragment: LanceFragment) -> tuple[object, ...]:
    """Return what tells a fragment from others: an update of most rows writes columns beside the old ones."""
    return fragment.fragment_id, *(file.path for file in fragment.metadata.files)


def _row_ids(fragment: LanceFragment) -> list[int]:
    from lance.fragment import RowIdSequence

    meta = fragment.metadata.row_id_meta
    assert meta is not None, "the tables are made with stable row ids"
    row_ids: list[int] = RowIdSequence.from_inline_metadata(meta).to_pyarrow().to_pylist()
    return row_ids


def deleted(dataset: LanceDataset, since: int, known: Callable[[], RowIds]) -> RowIds:
    """Return the row ids deleted after version ``since``.

    When that version has been cleaned up, they are those of ``known()`` that the table no longer has.
    """
    try:
        batches = list(dataset.delta(compared_against=since).get_deleted_row_ids())
    except (OSError, ValueError, RuntimeError):  # which of them differs between Lance's versions
        logger.info("version %d was cleaned up, comparing row ids", since, extra={"table": dataset.uri})
        present = dataset.to_table(columns=["_rowid"])["_rowid"].to_numpy().astype(np.int64)
        return np.setdiff1d(known(), present)
    return np.concatenate(
        [np.empty(0, np.int64), *(batch.column(0).to_numpy().astype(np.int64) for batch in batches)]
    )
