"""The `association_links` column of `memories`: each memory's strongest outgoing links, derived."""

from __future__ import annotations

from collections.abc import Callable

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import CODE_FIELD, LINK_STRUCT
from aios_db.store.commit import commit, patch

COLUMN = "association_links"
LINK = ["source_id", *LINK_STRUCT.names]
"""The columns of links that it is made of."""
_MOST = 8
_HEAVIEST = [("weight", "descending"), ("target_id", "ascending"), ("kind", "ascending")]
# A filter looks so many ids up at a time: fewer scan the rows that are not indexed yet too often.
_IDS = 20_000
_DENSE = 1_000


def write_strongest(
    memories: lance.LanceDataset, links: lance.LanceDataset, row_ids: NDArray[np.int64]
) -> lance.LanceDataset:
    """Bring the column up to date for these memories and return the version written.

    Compressed memories do without. The datasets are the newest, under the write lock.
    """
    if not len(row_ids):
        return memories
    names = ["memory_id", CODE_FIELD.name, "_rowid", "_rowaddr"]
    stored = memories._take_rows(row_ids.tolist(), columns=names)
    stored = stored.filter(stored[CODE_FIELD.name].is_null())
    column = strongest_links(links, stored["memory_id"].combine_chunks())
    row_ids = stored["_rowid"].to_numpy().astype(np.int64)
    dense = _in_dense_fragments(stored["_rowaddr"].to_numpy())
    if dense.any():
        memories = patch(memories, row_ids[dense], COLUMN, column.filter(pa.array(dense)))
    return commit(memories, None, row_ids[~dense], {COLUMN: column.filter(pa.array(~dense))})


def write_outdated(memories: lance.LanceDataset, links: pa.Table) -> tuple[lance.LanceDataset, int]:
    """Bring the column up to date where it is not what all ``links`` say.

    All keys and columns of links are read; the dataset is the newest, under the write lock.

    Returns
    -------
    tuple of lance.LanceDataset and int
        The version written, and of how many memories the column was another one.
    """
    stored = memories.to_table(columns=["memory_id", COLUMN, CODE_FIELD.name], with_row_id=True)
    column = group(links, stored["memory_id"].combine_chunks())
    differs = _differing(stored[COLUMN].combine_chunks(), column)
    differs &= stored[CODE_FIELD.name].is_null().to_numpy()  # compressed ones do without
    row_ids = stored["_rowid"].to_numpy()[differs].astype(np.int64)
    return commit(memories, None, row_ids, {COLUMN: column.filter(pa.array(differs))}), len(row_ids)


def write_first(
    memories: lance.LanceDataset, row_ids: NDArray[np.int64], memory_ids: pa.Array, links: pa.Table
) -> lance.LanceDataset:
    """Write the column of many memories that had no links before ``links``; return the version written.

    The dataset is the newest, under the write lock, and these memories fill its last fragments.
    """
    column = group(links, memory_ids)
    return patch(memories, row_ids, COLUMN, column)


def _in_dense_fragments(addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which rows lie in a fragment of which so many change that writing its column anew is cheaper."""
    _, place, counts = np.unique(addresses >> np.uint64(32), return_inverse=True, return_counts=True)
    return np.asarray(counts[place] >= _DENSE)


def strongest_links(
    links: lance.LanceDataset,
    memory_ids: pa.Array,
    seen: Callable[[pa.StringArray], pa.BooleanArray] | None = None,
) -> pa.ListArray:
    """Return the column's values for ``memory_ids``: at most eight links each, heaviest first, else NULL.

    Each kind of a memory's links comes to a turn with its heaviest, until there are eight: links of one kind,
    sixty made by hand say, do not crowd out the others. ``seen`` tells of the ids at the other ends which
    count; all do without it.
    """
    found = [
        links.to_table(
            columns=LINK,
            filter=pc.field("source_id").isin(memory_ids[at : at + _IDS]),
        )
        for at in range(0, len(memory_ids), _IDS)
    ]
    rows = pa.concat_tables(found).combine_chunks() if found else links.schema.empty_table()
    if seen is not None and len(rows):
        rows = rows.filter(seen(rows["target_id"].chunk(0)))
    return group(rows, memory_ids)


def group(links: pa.Table, memory_ids: pa.Array) -> pa.ListArray:
    """Return for each of ``memory_ids`` its heaviest links out of ``links``, as ``strongest_links`` does."""
    place = pc.index_in(links["source_id"], memory_ids).combine_chunks()
    links = links.append_column("place", place).filter(place.is_valid())
    links = links.sort_by([(name, "ascending") for name in ("place", "kind")] + _HEAVIEST)
    owner: NDArray[np.int64] = links["place"].to_numpy().astype(np.int64)
    kind = links["kind"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    links = links.append_column("turn", pa.array(_rank(np.stack([owner, kind]))))
    links = links.sort_by([("place", "ascending"), ("turn", "ascending"), *_HEAVIEST])
    links = links.filter(pa.array(_rank(links["place"].to_numpy()[np.newaxis]) < _MOST))
    kept = links.sort_by([("place", "ascending"), *_HEAVIEST]).combine_chunks()
    counts = np.bincount(kept["place"].to_numpy().astype(np.int64), minlength=len(memory_ids))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    structs = pa.StructArray.from_arrays(
        [_flat(kept[name], LINK_STRUCT.field(name).type) for name in LINK_STRUCT.names],
        fields=list(LINK_STRUCT),
    )
    return pa.ListArray.from_arrays(pa.array(offsets), structs, mask=pa.array(counts == 0))


def _rank(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each row within its group; ``groups`` is (columns, rows) in sorted order."""
    begins = np.ones(groups.shape[1], bool)
    begins[1:] = (groups[:, 1:] != groups[:, :-1]).any(axis=0)
    first = np.flatnonzero(begins)
    rank: NDArray[np.int64] = np.arange(len(begins)) - first[np.cumsum(begins) - 1]
    return rank


def _flat(column: pa.ChunkedArray, type_: pa.DataType) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type_)


def _differing(was: pa.ListArray, now: pa.ListArray) -> NDArray[np.bool_]:
    """Tell which lists of links are not the same."""
    lengths = [pc.fill_null(pc.list_value_length(each), -1).to_numpy() for each in (was, now)]
    differs: NDArray[np.bool_] = lengths[0] != lengths[1]
    alike = np.flatnonzero(~differs)
    one, other = (each.take(pa.array(alike)) for each in (was, now))
    parents = pc.list_parent_indices(one).to_numpy()
    for left, right in zip(one.flatten().flatten(), other.flatten().flatten(), strict=True):
        unequal = pc.coalesce(pc.not_equal(left, right), pc.not_equal(left.is_null(), right.is_null()))
        differs[alike[parents[unequal.to_numpy(zero_copy_only=False)]]] = True
    return differs
