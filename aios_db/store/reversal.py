"""What has to be written to take a change back, and what speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.association_links import KINDS
from aios_db.search.answers import Answers
from aios_db.store.differences import Difference, is_among, row_ids, rows_at, unlike, where
from aios_db.store.known import Stored
from aios_db.store.turns import external_keys

_ENDS = ("source_id", "target_id")
_KEY = (*_ENDS, "kind")
_BY_HAND = "user"
_MADE = tuple(each for each in KINDS if each != _BY_HAND)  # by the store itself
_TOLD = 5


@dataclass(frozen=True)
class Rows:
    """What changes of a table: rows that go, and rows that come, or come back, under their ids."""

    gone: NDArray[np.int64]
    back: pa.Table
    """With their ``_rowid``; a row that is there is replaced."""


@dataclass(frozen=True)
class Reversal:
    """The rows of both tables to write, and how many memories that concerns."""

    memories: Rows
    links: Rows
    added: int
    """Memories that come back."""
    updated: int

    @property
    def deleted(self) -> int:
        """Memories that go."""
        return len(self.memories.gone)

    @property
    def linked(self) -> int:
        """Links that go, come back or change."""
        return len(self.links.gone) + len(self.links.back)


def reversal(
    memories: Difference, links: Difference, now: tuple[lance.LanceDataset, lance.LanceDataset]
) -> Reversal:
    """Return what brings back the older of both sides of two differences.

    Links come back where both ends are there afterwards, and nothing links these in that way meanwhile. Links
    at memories that go, go with them.

    Parameters
    ----------
    now
        The newest memories and links.
    """
    table, link_table = now
    gone = row_ids(memories.added)
    gone_ids = memories.added["memory_id"].combine_chunks()
    touching = _touching(link_table, gone_ids)
    added = rows_at(link_table, row_ids(links.added))
    links_gone = np.union1d(row_ids(touching), row_ids(added))

    back = pa.concat_tables([links.deleted, _with_evidence_since(links, link_table)])
    ends = pa.concat_arrays([back[name].combine_chunks() for name in _ENDS]).unique()
    there = pa.concat_arrays(
        [
            _present(table, ends, gone_ids),
            memories.lost["memory_id"].combine_chunks(),
        ]
    )
    back = where(back, np.logical_and.reduce([is_among(back[name], there) for name in _ENDS]))
    back = where(back, ~_taken(link_table, back, links_gone))
    links_gone = np.setdiff1d(links_gone, row_ids(back))
    return Reversal(
        Rows(gone, memories.lost), Rows(links_gone, back), len(memories.deleted), len(memories.old)
    )


def conflicts(
    memories: Difference,
    links: Difference,
    now: tuple[lance.LanceDataset, lance.LanceDataset],
    index: Answers,
    counted_by_change: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
) -> list[str]:
    """Return what was written since a change to the rows that it wrote, as words for the user; none is best.

    Parameters
    ----------
    memories, links
        What the change did.
    now, index
        The newest tables, and the index level with them.
    counted_by_change
        Tells of links, by their row ids, whether a later change gave them evidence; maintenance may, too.
    """
    table, link_table = now
    found = []
    written = pa.concat_tables([memories.added, memories.new])
    present = rows_at(table, row_ids(written))
    still = np.isin(row_ids(written), row_ids(present))
    found += _named("forgotten since", where(written, ~still)["memory_id"].to_pylist())
    same = where(written, still)
    found += _named("changed since", where(same, unlike(same, present))["memory_id"].to_pylist())
    lost = memories.deleted["memory_id"].combine_chunks()
    found += _named("there again", _present(table, lost, None).to_pylist())
    found += _named("the same as what would come back", _twins(memories, table, index))
    by_hand = _touching(link_table, memories.added["memory_id"].combine_chunks())
    by_hand = where(by_hand, ~is_among(by_hand["kind"], pa.array(_MADE)))
    by_hand = where(by_hand, ~np.isin(row_ids(by_hand), row_ids(links.added)))
    found += _named("linked since", by_hand["source_id"].to_pylist())
    if not memories:
        found += _named("linked otherwise since", _links_changed(links, link_table, counted_by_change))
    return found


def _named(what: str, memory_ids: Sequence[str]) -> list[str]:
    distinct = list(dict.fromkeys(memory_ids))
    if not distinct:
        return []
    more = f" and {len(distinct) - _TOLD} more" if len(distinct) > _TOLD else ""
    return [f"{what}: {', '.join(distinct[:_TOLD])}{more}"]


def _twins(memories: Difference, table: lance.LanceDataset, index: Answers) -> list[str]:
    """Return the memories, not among those that the change wrote, that are what would come back."""
    lost = memories.lost
    if not len(lost):
        return []
    stored = Stored(table, index).exactly(external_keys(lost), lost["content_hash"].to_pylist())
    own = np.concatenate([row_ids(memories.added), row_ids(memories.new)])
    others = np.setdiff1d(stored[stored >= 0], own)
    twins: list[str] = table._take_rows(others.tolist(), columns=["memory_id"])["memory_id"].to_pylist()
    return twins


def _links_changed(
    links: Difference,
    table: lance.LanceDataset,
    counted_by_change: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
) -> list[str]:
    """Return the sources of links, out of a change that wrote only links, that are otherwise now.

    What maintenance adds of evidence, since their ends were recalled together, does not count.
    """
    written = pa.concat_tables([links.added, links.new])
    present = rows_at(table, row_ids(written))
    still = np.isin(row_ids(written), row_ids(present))
    same = where(written, still)
    other = unlike(same, present, ignoring=("evidence_count", "reinforced_at"))
    counted = unlike(same.select(["evidence_count"]), present.select(["evidence_count"]))
    if counted.any():
        other[counted] |= counted_by_change(row_ids(present)[counted])
    again = where(links.deleted, _taken(table, links.deleted, np.empty(0, np.int64)))
    return [
        *where(written, ~still)["source_id"].to_pylist(),
        *where(same, other)["source_id"].to_pylist(),
        *again["source_id"].to_pylist(),
    ]


def evidence(table: lance.LanceDataset, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how much evidence links have, by their row ids; 0 of one that is not there."""
    rows = table._take_rows(wanted.tolist(), columns=["_rowid", "evidence_count"])
    counts = dict(zip(*rows.to_pydict().values(), strict=True))
    return np.array([counts.get(each, 0) for each in wanted.tolist()], np.int64)


def _with_evidence_since(links: Difference, table: lance.LanceDataset) -> pa.Table:
    """Return what changed links were, with the evidence that came since; those that are gone stay so."""
    present = rows_at(table, row_ids(links.new))
    still = np.isin(row_ids(links.new), row_ids(present))
    old, new = where(links.old, still), where(links.new, still)
    since = pc.subtract(present["evidence_count"], new["evidence_count"])
    evidence = pc.max_element_wise(pc.add(old["evidence_count"], since), pa.scalar(1, pa.int32()))
    place = old.schema.get_field_index("evidence_count")
    return old.set_column(place, old.schema.field(place), evidence)


def _touching(table: lance.LanceDataset, memory_ids: pa.Array) -> pa.Table:
    """Return the links that start or end at some memories."""
    if not len(memory_ids):
        return rows_at(table, np.empty(0, np.int64))
    at = pc.field("source_id").isin(memory_ids) | pc.field("target_id").isin(memory_ids)
    return (
        table.to_table(filter=at, with_row_id=True).select([*table.schema.names, "_rowid"]).combine_chunks()
    )


def _present(table: lance.LanceDataset, memory_ids: pa.Array, but: pa.Array | None) -> pa.Array:
    """Return those of some memories that are there."""
    if not len(memory_ids):
        return pa.array([], pa.string())
    found = table.to_table(columns=["memory_id"], filter=pc.field("memory_id").isin(memory_ids))["memory_id"]
    if but is not None:
        found = found.filter(pc.invert(pc.is_in(found, but)))
    return found.combine_chunks()


def _taken(table: lance.LanceDataset, links: pa.Table, gone: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for which links there is another with the same ends and kind that is not to go."""
    if not len(links):
        return np.zeros(0, np.bool_)
    sources = links["source_id"].combine_chunks().unique()
    found = table.to_table(columns=list(_KEY), filter=pc.field("source_id").isin(sources), with_row_id=True)
    found = where(found, ~np.isin(row_ids(found), np.concatenate([gone, row_ids(links)])))
    there = {tuple(row.values()) for row in found.select(list(_KEY)).to_pylist()}
    return np.array([tuple(row.values()) in there for row in links.select(list(_KEY)).to_pylist()], np.bool_)
