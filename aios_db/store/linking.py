"""Links of new memories: what the search index proposes, as rows of `association_links`."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.association_links import KINDS
from aios_db.schema.config import LinksConfig
from aios_db.search.graph import kind_code
from aios_db.search.index import SearchIndex
from aios_db.search.linking import NewMemories, propose_links
from aios_db.store.commit import commit
from aios_db.store.links import stored_links


def link_new(
    memories: lance.LanceDataset,
    links: lance.LanceDataset,
    index: SearchIndex,
    new: pa.Table,
    config: LinksConfig,
) -> tuple[lance.LanceDataset, pa.Table]:
    """Link memories that were just written.

    Parameters
    ----------
    memories, links
        The newest versions, under the write lock.
    index
        Level with them: it knows the new memories.
    new
        The rows written, in the stored schema.
    config
        Thresholds and caps.

    Returns
    -------
    tuple of lance.LanceDataset and pa.Table
        The version of ``links`` written, and the links, in its schema.
    """

    def texts_of(row_ids: NDArray[np.int64]) -> list[str]:
        texts: list[str] = memories._take_rows(row_ids.tolist(), columns=["text"])["text"].to_pylist()
        return texts

    proposed = propose_links(index, _described(index, new), config, texts_of)
    made, origins = _lineage(index, new)
    first, second = np.concatenate([proposed.sources, made]), np.concatenate([proposed.targets, origins])
    if not len(first):
        return links, links.schema.empty_table()
    ends = np.unique(np.concatenate([first, second]))
    names = index.memory_ids(ends)
    kinds = np.concatenate([proposed.kinds, np.full(len(made), kind_code("derived_from"), np.uint8)])
    rows = stored_links(
        names.take(pa.array(np.searchsorted(ends, first))),
        names.take(pa.array(np.searchsorted(ends, second))),
        pa.array(KINDS).take(pa.array(kinds)),
        pa.array(np.concatenate([proposed.weights, np.ones(len(made), np.float32)])),
    )
    return commit(links, rows), rows


def _lineage(index: SearchIndex, new: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row ids of new memories and of the memories they were made from, pair by pair.

    An origin that is not there, or no longer, has no link; its id stays in ``derived_from``.
    """
    column = new["derived_from"].combine_chunks()
    if column.null_count == len(column):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    made = pc.list_parent_indices(column).to_pylist()
    pairs = list(dict.fromkeys(zip(made, column.flatten().to_pylist(), strict=True)))
    origins = index.find_ids([origin or "" for _, origin in pairs])
    rows = index.find_ids(new["memory_id"].combine_chunks())[[row for row, _ in pairs]]
    return rows[origins >= 0], origins[origins >= 0]


def _described(index: SearchIndex, new: pa.Table) -> NewMemories:
    """Return what the proposals look at."""
    column = {
        name: new[name].to_pylist()
        for name in ("text", "title", "user_id", "agent_id", "session_id", "speaker")
    }
    dimension = new.schema.field("text_embedding").type.list_size
    embedded = new["text_embedding"].combine_chunks()
    vectors = np.zeros((len(new), dimension), np.float32)
    vectors[embedded.is_valid().to_numpy(zero_copy_only=False)] = (
        embedded.flatten().to_numpy().reshape(-1, dimension)
    )
    return NewMemories(
        rows=index.find_ids(new["memory_id"].combine_chunks()),
        texts=column["text"],
        titles=column["title"],
        user_ids=column["user_id"],
        agent_ids=column["agent_id"],
        session_ids=column["session_id"],
        speakers=column["speaker"],
        vectors=vectors,
    )
