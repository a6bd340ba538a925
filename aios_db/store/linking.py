"""Links of new memories: what the search index proposes, as rows of `association_links`."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.config import LinksConfig
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
) -> tuple[lance.LanceDataset, list[str]]:
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
    tuple of lance.LanceDataset and list of str
        The version of ``links`` written, and the memories that the links start at.
    """

    def texts_of(row_ids: NDArray[np.int64]) -> list[str]:
        texts: list[str] = memories._take_rows(row_ids.tolist(), columns=["text"])["text"].to_pylist()
        return texts

    proposed = propose_links(index, _described(index, new), config, texts_of)
    if not len(proposed.sources):
        return links, []
    ends = np.unique(np.concatenate([proposed.sources, proposed.targets]))
    names = memories._take_rows(ends.tolist(), columns=["memory_id"])["memory_id"].combine_chunks()
    sources = names.take(pa.array(np.searchsorted(ends, proposed.sources)))
    rows = stored_links(
        sources,
        names.take(pa.array(np.searchsorted(ends, proposed.targets))),
        pa.array(proposed.kinds),
        pa.array(proposed.weights),
    )
    return commit(links, rows), sources.unique().to_pylist()


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
        rows=index.find_ids(new["memory_id"].to_pylist()),
        texts=column["text"],
        titles=column["title"],
        user_ids=column["user_id"],
        agent_ids=column["agent_id"],
        session_ids=column["session_id"],
        speakers=column["speaker"],
        vectors=vectors,
    )
