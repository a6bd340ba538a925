"""The `association_links` column of `memories`: each memory's strongest outgoing links, derived."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import LINK_STRUCT

COLUMN = "association_links"
_MOST = 8
# A filter on the indexed source_id looks each id up; this many at a time keep its expression small.
_IDS = 1_000


def strongest_links(links: lance.LanceDataset, memory_ids: pa.Array) -> pa.ListArray:
    """Return the column's values for ``memory_ids``: at most eight links each, heaviest first, else NULL."""
    found = [
        links.to_table(
            columns=["source_id", *LINK_STRUCT.names],
            filter=pc.field("source_id").isin(memory_ids[at : at + _IDS]),
        )
        for at in range(0, len(memory_ids), _IDS)
    ]
    return group(pa.concat_tables(found) if found else links.schema.empty_table(), memory_ids)


def group(links: pa.Table, memory_ids: pa.Array) -> pa.ListArray:
    """Return for each of ``memory_ids`` its heaviest links out of ``links``."""
    place = pc.index_in(links["source_id"], memory_ids).combine_chunks()
    links = links.append_column("place", place).filter(place.is_valid())
    links = links.sort_by([("place", "ascending"), ("weight", "descending"), ("target_id", "ascending")])
    owner: NDArray[np.int64] = links["place"].to_numpy().astype(np.int64)
    counts = np.bincount(owner, minlength=len(memory_ids))
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = links.filter(pa.array(rank < _MOST)).combine_chunks()
    offsets = np.concatenate(([0], np.cumsum(np.minimum(counts, _MOST)))).astype(np.int32)
    structs = pa.StructArray.from_arrays(
        [_flat(kept[name], LINK_STRUCT.field(name).type) for name in LINK_STRUCT.names],
        fields=list(LINK_STRUCT),
    )
    return pa.ListArray.from_arrays(pa.array(offsets), structs, mask=pa.array(counts == 0))


def _flat(column: pa.ChunkedArray, type_: pa.DataType) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type_)
