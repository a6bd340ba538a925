"""Links as if the memories that are left had been written without the others, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.association_links import SCHEMA
from aios_db.schema.config import LinksConfig
from aios_db.search.index import SearchIndex
from aios_db.search.source import MEMORY_COLUMNS
from aios_db.store.linking import links_of_new

if TYPE_CHECKING:
    from lance import LanceDataset

MADE = ("next_in_session", "similar", "same_entity")
"""The kinds of links that follow from the memories."""

_KEY = ("source_id", "target_id", "kind")
_KEPT = ("evidence_count", "created_at", "reinforced_at")


def replayed(
    memories: LanceDataset, gone: NDArray[np.int64], first: int, like: SearchIndex, config: LinksConfig
) -> pa.Table:
    """Return the links that follow from the memories written since row ``first``, without those ``gone``.

    Parameters
    ----------
    memories
        The newest version.
    gone
        Row ids of the memories that are taken as never written.
    first
        What was written before is as it was.
    like
        The index of the database; its vectors, language and trust in sources.
    config
        Thresholds and caps.
    """
    index = SearchIndex.open(None, like.dimension, like.language, standing=like.standing.alike())
    made = [SCHEMA.empty_table()]
    for rows in _calls(memories, gone, first):
        for batch in rows.to_batches():
            index.suppose([batch])
        if rows["_rowid"][0].as_py() >= first:
            made.append(links_of_new(memories, index, rows, config, MADE))
    return pa.concat_tables(made)


def as_they_were(links: pa.Table, before: pa.Table) -> pa.Table:
    """Return links with the evidence and the times that those of the same ends and kind had ``before``."""
    known: dict[tuple[Any, ...], Mapping[str, Any]] = {
        tuple(row[name] for name in _KEY): row for row in before.select([*_KEY, *_KEPT]).to_pylist()
    }
    rows = links.to_pylist()
    for row in rows:
        old = known.get(tuple(row[name] for name in _KEY))
        if old is not None:
            row.update({name: old[name] for name in _KEPT})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _calls(memories: LanceDataset, gone: NDArray[np.int64], first: int) -> Iterator[pa.Table]:
    """Yield the memories that are left: those before row ``first``, then what each call wrote."""
    columns = list(MEMORY_COLUMNS)
    stored = memories.to_table(columns=columns, with_row_id=True).sort_by("_rowid").combine_chunks()
    stored = stored.filter(pa.array(~np.isin(stored["_rowid"].to_numpy(), gone)))
    rows = stored["_rowid"].to_numpy()
    start = int(np.searchsorted(rows, first))
    if start:
        yield stored.slice(0, start)
    moments = stored["created_at"].cast(pa.int64()).to_numpy()
    ends = [*(np.flatnonzero(np.diff(moments)) + 1).tolist(), len(rows)]
    for end in ends:
        if end > start:
            yield stored.slice(start, end - start)
            start = end
