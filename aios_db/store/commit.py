"""Commits that insert, change and delete rows, at a cost that follows the rows and not the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import FragmentMetadata, RowIdSequence, write_fragments
from numpy.typing import NDArray

from aios_db.schema.memories import CODE_FIELD
from aios_db.store.dense import write_dense
from aios_db.store.memories_table import like
from aios_db.store.short_hashes import shortened
from aios_db.store.snapshot import handle
from aios_db.store.torn import check_written

Write: TypeAlias = Callable[[pa.Table, lance.LanceDataset], list[FragmentMetadata]]


def commit(
    dataset: lance.LanceDataset,
    inserted: pa.Table | None = None,
    row_ids: NDArray[np.int64] | None = None,
    changes: Mapping[str, pa.Array] | None = None,
    gone: NDArray[np.int64] | None = None,
) -> lance.LanceDataset:
    """Insert rows, change others and delete some; readers see all of it or nothing.

    Lance's `merge_insert` finds the rows to change by a scan of the key, and `update` has one expression
    for all rows. Here the changed rows are written as a new fragment that carries their row ids over, and
    marked deleted where they were.

    Parameters
    ----------
    dataset
        The newest version, under the write lock.
    inserted
        New rows in the table's schema.
    row_ids
        int64 ``(n,)``, the rows to change, all present, without repeats.
    changes
        For each changed column its ``n`` new values, in the order of ``row_ids``.
    gone
        int64 ``(m,)``, the rows to delete, all present, without repeats, none of them among ``row_ids``.

    Returns
    -------
    lance.LanceDataset
        The dataset at the version written; ``dataset`` itself when there was nothing to do.
    """
    operation = lance.LanceOperation.Update()
    if inserted is not None and len(inserted):
        operation.new_fragments += _write(inserted, dataset)
    old = [np.empty(0, np.uint64)]
    if row_ids is not None and changes and len(row_ids):
        old.append(_rewrite(dataset, operation, row_ids, changes))
    if gone is not None and len(gone):
        old.append(dataset._take_rows(gone.tolist(), columns=["_rowaddr"])["_rowaddr"].to_numpy())
    _remove(dataset, operation, np.concatenate(old))
    if not (operation.new_fragments or operation.updated_fragments or operation.removed_fragment_ids):
        return dataset
    check_written(Path(dataset.uri), [*operation.new_fragments, *operation.updated_fragments])
    change = operation if operation.updated_fragments or operation.removed_fragment_ids else None
    return _committed(dataset, change or lance.LanceOperation.Append(operation.new_fragments))


def exchange(
    dataset: lance.LanceDataset,
    gone: NDArray[np.int64],
    rows: pa.Table,
    row_ids: NDArray[np.int64],
    transaction: str | None = None,
) -> lance.LanceDataset:
    """Delete rows and put others under given row ids; readers see both or neither.

    A row that was deleted can come back under the id that it had, in its place in the order of insertion.

    Parameters
    ----------
    dataset
        The newest version, under the write lock.
    gone
        int64 ``(n,)``, the rows to delete, all present, without repeats.
    rows
        ``m`` rows in the table's schema.
    row_ids
        int64 ``(m,)``, without repeats, none of them among ``gone``: a row that is there is replaced. All
        were given out by Lance before.
    transaction
        A name for the transaction, by which it is known again; Lance gives one when it is absent.

    Returns
    -------
    lance.LanceDataset
        The dataset at the version written; ``dataset`` itself when there was nothing to do.
    """
    if not len(row_ids) and not len(gone):
        return dataset
    operation = lance.LanceOperation.Update()
    there = dataset._take_rows([*gone.tolist(), *row_ids.tolist()], columns=["_rowaddr"])
    _remove(dataset, operation, there["_rowaddr"].to_numpy())
    if len(row_ids):
        _put(dataset, operation, rows, row_ids.tolist())
    check_written(Path(dataset.uri), [*operation.new_fragments, *operation.updated_fragments])
    named = lance.Transaction(dataset.version, operation, transaction or str(uuid4()))
    return like(dataset, lance.LanceDataset.commit(dataset, named))


def gather(
    dataset: lance.LanceDataset,
    row_ids: NDArray[np.int64],
    changes: Mapping[str, pa.Array],
    plain: frozenset[str] = frozenset(),
) -> lance.LanceDataset:
    """Move rows, with what changes of them, into fragments in few bytes, in one commit.

    Parameters
    ----------
    dataset
        The newest version, under the write lock.
    row_ids
        int64 ``(n,)``, all present, without repeats.
    changes
        For each changed column its ``n`` new values, in the order of ``row_ids``.
    plain
        As `write_dense`.
    """
    operation = lance.LanceOperation.Update()

    def write(rows: pa.Table, table: lance.LanceDataset) -> list[FragmentMetadata]:
        return write_dense(table, shortened(rows), plain)

    _remove(dataset, operation, _rewrite(dataset, operation, row_ids, changes, write))
    check_written(Path(dataset.uri), [*operation.new_fragments, *operation.updated_fragments])
    return _committed(dataset, operation)


def patch(
    dataset: lance.LanceDataset, row_ids: NDArray[np.int64], name: str, values: pa.Array
) -> lance.LanceDataset:
    """Give most rows of some fragments a new value in one column, which is written anew beside the others.

    Lance does not count it as an update of the rows: only for what is derived from elsewhere.

    Parameters
    ----------
    dataset
        The newest version, under the write lock.
    row_ids
        int64 ``(n,)``, all present, without repeats.
    name
        The column.
    values
        Its ``n`` new values.
    """
    addresses = dataset._take_rows(row_ids.tolist(), columns=["_rowaddr"])["_rowaddr"].to_numpy()
    changed = pa.table({"_rowid": row_ids.astype(np.uint64), name: values})
    operation = lance.LanceOperation.Update(update_mode="rewrite_columns")
    fragments = {each.fragment_id: each for each in dataset.get_fragments()}
    for fragment, _ in by_fragment(addresses):
        written, operation.fields_modified = fragments[fragment].update_columns(changed)
        operation.updated_fragments.append(written)
    return _committed(dataset, operation)


def merged(
    dataset: lance.LanceDataset, *parts: tuple[NDArray[np.int64], Mapping[str, pa.Array]]
) -> tuple[NDArray[np.int64], dict[str, pa.Array]]:
    """Return several changes as one, each rows and what of them changes; of two, the later counts.

    Rows of one keep what they have in the columns of others.
    """
    rows = np.unique(np.concatenate([each for each, _ in parts]))
    names = list(dict.fromkeys(name for _, columns in parts for name in columns))
    if not len(rows) or not names:
        return rows, {}
    stored = dataset._take_rows(rows.tolist(), columns=names)
    found = {}
    for name in names:
        values = stored[name].combine_chunks()
        for changed, columns in parts:
            if name in columns and len(changed):
                places = np.arange(len(rows))
                places[np.searchsorted(rows, changed)] = len(values) + np.arange(len(changed))
                values = pa.concat_arrays([values, columns[name].cast(values.type)]).take(pa.array(places))
        found[name] = values
    return rows, found


def delete(dataset: lance.LanceDataset, row_ids: NDArray[np.int64]) -> lance.LanceDataset:
    """Delete rows in one commit and return the version written.

    The filter is made of integers; no user's string ever becomes part of one.
    """
    written = handle(dataset)
    if len(row_ids):
        written.delete(f"_rowid IN ({', '.join(str(int(each)) for each in row_ids)})")
    return written


def _committed(
    dataset: lance.LanceDataset, operation: lance.LanceOperation.BaseOperation
) -> lance.LanceDataset:
    return like(dataset, lance.LanceDataset.commit(dataset, operation, read_version=dataset.version))


def _write(rows: pa.Table, dataset: lance.LanceDataset) -> list[FragmentMetadata]:
    """Write rows as new fragments without the columns in which none has a value, which Lance reads as NULL.

    Of a memory by itself those are most columns, and half the bytes and the time of its file.
    """
    return write_fragments(
        rows.select([each for each in rows.column_names if rows[each].null_count < len(rows)]), dataset
    )


def _rewrite(
    dataset: lance.LanceDataset,
    operation: lance.LanceOperation.Update,
    row_ids: NDArray[np.int64],
    changes: Mapping[str, pa.Array],
    write: Write = _write,
) -> NDArray[np.uint64]:
    """Add to ``operation`` the changed rows as new fragments; return where they are now."""
    schema = dataset.schema
    rows = dataset._take_rows(row_ids.tolist(), columns=[*schema.names, "_rowid", "_rowaddr"])
    columns = [changes[name] if name in changes else rows[name] for name in schema.names]
    _put(dataset, operation, pa.table(columns, schema=schema), rows["_rowid"].to_pylist(), write)
    addresses: NDArray[np.uint64] = rows["_rowaddr"].to_numpy()
    return addresses


def _remove(
    dataset: lance.LanceDataset, operation: lance.LanceOperation.Update, addresses: NDArray[np.uint64]
) -> None:
    """Add to ``operation`` the deletion of rows."""
    fragments = {each.fragment_id: each for each in dataset.get_fragments()}
    for fragment, offsets in by_fragment(addresses):
        left: FragmentMetadata | None = fragments[fragment].delete_rows(offsets.tolist())
        if left is None:
            operation.removed_fragment_ids.append(fragment)
        else:
            operation.updated_fragments.append(left)


def _put(
    dataset: lance.LanceDataset,
    operation: lance.LanceOperation.Update,
    rows: pa.Table,
    row_ids: list[int],
    write: Write = _write,
) -> None:
    """Add to ``operation`` new fragments whose rows have these ids."""
    start = 0
    for new in write(_with_true_codes(rows), dataset):
        new.row_id_meta = RowIdSequence(row_ids[start : start + new.physical_rows]).to_inline_metadata()
        start += new.physical_rows
        operation.new_fragments.append(new)


def _with_true_codes(rows: pa.Table) -> pa.Table:
    """Return rows without the codes of vectors that are there, or are of another text."""
    place = rows.schema.get_field_index(CODE_FIELD.name)
    if place < 0 or rows[place].null_count == len(rows):
        return rows
    true = pc.and_(rows["text_embedding"].is_null(), rows["text_weight_version"].is_valid())
    codes = pc.if_else(true, rows[place], pa.scalar(None, CODE_FIELD.type))
    return rows.set_column(place, rows.schema.field(place), codes)


def by_fragment(addresses: NDArray[np.uint64]) -> list[tuple[int, NDArray[np.uint64]]]:
    """Return each fragment's id and the places in it, of Lance row addresses."""
    fragments = addresses >> np.uint64(32)
    return [
        (int(each), addresses[fragments == each] & np.uint64(0xFFFFFFFF)) for each in np.unique(fragments)
    ]
