"""Links of new memories: what the search index proposes, as rows of `association_links`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.association_links import KINDS, NAMED, SCHEMA
from aios_db.schema.config import LinksConfig
from aios_db.search.answers import Answers
from aios_db.search.graph import NEXT_IN_SESSION, kind_code
from aios_db.search.linking import NewMemories, ProposedLinks, propose_links
from aios_db.search.visible import Visible
from aios_db.store.commit import commit
from aios_db.store.links import stored_links

_NONE = np.empty(0, np.int64)
_KEY = ("source_id", "target_id", "kind")


def link_new(
    memories: lance.LanceDataset,
    links: lance.LanceDataset,
    index: Answers,
    new: pa.Table,
    config: LinksConfig,
    *,
    kinds: Sequence[str] = KINDS,
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
    kinds
        The kinds of links to make.

    Returns
    -------
    tuple of lance.LanceDataset and pa.Table
        The version of ``links`` written, and the links, in its schema.
    """
    rows = links_of_new(memories, index, new, config, kinds)
    return (commit(links, rows) if len(rows) else links), rows


def link_missing(
    memories: lance.LanceDataset, links: lance.LanceDataset, index: Answers, config: LinksConfig
) -> tuple[lance.LanceDataset, pa.Table]:
    """Commit `missing_links`; return the version written, and its new rows, as `link_new`."""
    rows = missing_links(memories, links, index, config)
    return (commit(links, rows) if len(rows) else links), rows


def missing_links(
    memories: lance.LanceDataset, links: lance.LanceDataset, index: Answers, config: LinksConfig
) -> pa.Table:
    """Return links of memories whose writer was stopped when it had stored them and not yet linked them.

    Such memories have no link of their own, but for those that the next turn of the session made. What they
    would have been linked with are memories written before them, or with them.
    """
    own = links.to_table(columns=["source_id"], filter=f"kind != '{KINDS[NEXT_IN_SESSION]}'")["source_id"]
    stored = memories.to_table(columns=["memory_id", "created_at"], with_row_id=True)
    # The memories of one call were stored at one time; one with a link shows that the call was ended.
    linked = stored.filter(pc.is_in(stored["memory_id"], own.unique()))["created_at"].unique()
    alone = stored.filter(pc.invert(pc.is_in(stored["created_at"], linked)))["_rowid"].to_numpy()
    if not len(alone):
        return links.schema.empty_table()
    new = memories._take_rows(np.sort(alone).tolist())
    rows = links_of_new(memories, index, new, config, KINDS)
    ends = [index.find_ids(rows[name].combine_chunks()) for name in ("source_id", "target_id")]
    rows = rows.filter(pa.array(np.isin(np.maximum(*ends), alone)))
    return not_there(links, rows)


def not_there(links: lance.LanceDataset, rows: pa.Table) -> pa.Table:
    """Return those links, as rows of the table, that it does not have, in either direction."""
    if not len(rows):
        return rows
    names = pa.concat_arrays([rows[name].combine_chunks() for name in _KEY[:2]]).unique()
    ends = pc.field("source_id").isin(names) & pc.field("target_id").isin(names)
    there = {_undirected(each) for each in links.to_table(columns=list(_KEY), filter=ends).to_pylist()}
    missing = [_undirected(each) not in there for each in rows.select(list(_KEY)).to_pylist()]
    return rows.filter(pa.array(missing, pa.bool_()))


def _undirected(link: Mapping[str, str]) -> tuple[str, str, str]:
    first, second = sorted((link["source_id"], link["target_id"]))
    return first, second, link["kind"]


def links_of_new(
    memories: lance.LanceDataset,
    index: Answers,
    new: pa.Table,
    config: LinksConfig,
    kinds: Sequence[str],
) -> pa.Table:
    """Return the links of these kinds that memories get, as rows of the table."""

    def texts_of(row_ids: NDArray[np.int64]) -> list[str]:
        texts: list[str] = memories._take_rows(row_ids.tolist(), columns=["text"])["text"].to_pylist()
        return texts

    proposed = _within_walls(index, _not_summing_up(new), config, texts_of)
    wanted = np.isin(proposed.kinds, [kind_code(each) for each in kinds])
    named = [(kind_code(each), *_named(index, new, each)) for each in NAMED if each in kinds]
    first = np.concatenate([proposed.sources[wanted], *(sources for _, sources, _ in named)])
    second = np.concatenate([proposed.targets[wanted], *(targets for _, _, targets in named)])
    if not len(first):
        return SCHEMA.empty_table()
    ends = np.unique(np.concatenate([first, second]))
    names = index.memory_ids(ends)
    codes = np.concatenate(
        [proposed.kinds[wanted], *(np.full(len(each), code, np.uint8) for code, each, _ in named)]
    )
    weights = np.concatenate([proposed.weights[wanted], np.ones(len(first) - int(wanted.sum()), np.float32)])
    order = np.lexsort((second, first, codes))  # rows that lie so are compressed to fewer bytes
    return stored_links(
        names.take(pa.array(np.searchsorted(ends, first[order]))),
        names.take(pa.array(np.searchsorted(ends, second[order]))),
        pa.array(KINDS).take(pa.array(codes[order])),
        pa.array(weights[order]),
    )


def _named(index: Answers, new: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row ids of new memories and of those that a column of theirs names, pair by pair.

    One that is not there, or no longer, has no link; its id stays in the column.
    """
    column = new[name].combine_chunks()
    if column.null_count == len(column):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if pa.types.is_list(column.type):
        made, names = pc.list_parent_indices(column).to_pylist(), column.flatten().to_pylist()
    else:
        made, names = np.flatnonzero(column.is_valid()).tolist(), column.drop_null().to_pylist()
    pairs = list(dict.fromkeys(zip(made, names, strict=True)))
    origins = index.find_ids([origin or "" for _, origin in pairs])
    rows = index.find_ids(new["memory_id"].combine_chunks())[[row for row, _ in pairs]]
    users, theirs = index.users(rows), index.users(origins)
    linked = (origins >= 0) & ((theirs == 0) | (theirs == users))
    return rows[linked], origins[linked]


def _not_summing_up(new: pa.Table) -> pa.Table:
    """Return the memories that are no principles: these are linked with what they were made of only."""
    made = pc.and_(pc.equal(new["kind"], "principle"), new["derived_from"].is_valid())
    return new.filter(pc.invert(made)) if pc.any(made).as_py() else new


def _within_walls(
    index: Answers, new: pa.Table, config: LinksConfig, texts_of: Callable[[NDArray[np.int64]], list[str]]
) -> ProposedLinks:
    """Return links of new memories with those of the same user and of none that are trusted as much or more.

    What they are is as if there were no others: a memory of nobody is linked with such only, and how one is
    linked does not follow from what is trusted less.
    """
    if not len(new):
        return ProposedLinks(_NONE, _NONE, _NONE.astype(np.uint8), _NONE.astype(np.float32))
    rows = index.find_ids(new["memory_id"].combine_chunks())
    users, classes = index.users(rows), index.classes(rows)
    found = []
    for user, number in dict.fromkeys(zip(users.tolist(), classes.tolist(), strict=True)):
        alone = not index.has_others(user) and not index.has_below(number)
        visible = index.kinship if alone else Visible(index, user, number)
        same = (users == user) & (classes == number)
        some = new if same.all() else new.filter(pa.array(same))
        found.append(propose_links(visible, _described(index, some), config, texts_of))
    return ProposedLinks(*(np.concatenate(columns) for columns in zip(*map(_columns, found), strict=True)))


def _columns(proposed: ProposedLinks) -> tuple[NDArray[Any], ...]:
    return proposed.sources, proposed.targets, proposed.kinds, proposed.weights


def _described(index: Answers, new: pa.Table) -> NewMemories:
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
