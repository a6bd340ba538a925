"""What a consolidation would do to recall, on the own past queries: before anything is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.lifecycle.asking import Asking
from aios_db.lifecycle.principles import Principle
from aios_db.schema.association_links import KINDS
from aios_db.schema.memories import KEY
from aios_db.search.graph import flow_code
from aios_db.search.linkrun import Links
from aios_db.search.source import MEMORY_COLUMNS
from aios_db.store.linking import links_of_new
from aios_db.store.past_queries import PastQuery

if TYPE_CHECKING:
    from aios_db.search.index import SearchIndex
    from aios_db.store.opened import OpenDatabase
    from aios_db.store.snapshot import Level

_ROUNDING = 1e-9
_AT_STAKE, _OTHERS = 128, 32
"""Past queries that are asked again: of those that had found a source, and of the others, which a principle
may crowd something out of. More of them say little more, and each is asked twice per commit."""
_RECALL = "SELECT memory_id, derived_from FROM recall(?, filter := ?, k := {})"


@dataclass(frozen=True)
class Comparison:
    """Evidence recall: of what past queries found of an owner's memories, the share that `recall` finds."""

    queries: int
    """Those that were asked again."""
    found: int
    """Memories that they had found."""
    before: float | None
    after: float | None

    @property
    def loss(self) -> float:
        """How much of it is lost; 0 where nothing was asked yet."""
        return 0.0 if self.before is None or self.after is None else self.before - self.after

    def loses_more(self, share: float, lost: float = 0.0) -> bool:
        """Tell whether more is lost than a share, of which some was lost before.

        A single memory is no share, unless nothing may be lost; with a share of 1 all may be.
        """
        if share >= 1:
            return False
        most = max(share, 1 / self.found) if share and self.found else share
        return self.loss > _ROUNDING and self.loss + lost > most + _ROUNDING


NOTHING_ASKED = Comparison(0, 0, None, None)


def compare(
    database: OpenDatabase,
    principles: Sequence[Principle],
    rows: pa.Table,
    policy: str,
    queries: Sequence[PastQuery],
) -> Comparison:
    """Return how recall does now, and with a consolidation.

    Of many queries some are asked, evenly spaced in time: 128 of those that had found a source, and 32 of
    the rest. Both count by how many they stand for. A memory that a query had found counts as found when it
    is returned, or as long as it is stored, when a principle that is derived from it is. What was found of
    other owners does not count.

    Parameters
    ----------
    principles
        Of one owner.
    rows
        They as rows of `memories`, with their vectors.
    policy
        ``archive`` or ``delete``.
    queries
        Those whose findings that are gone by now do not count.
    """
    cluster = principles[0].cluster
    sources = [each.memory_id for principle in principles for each in principle.cluster.sources]

    def compared(now: Level) -> Comparison:
        asked = _asked(now, queries, (cluster.user_id, cluster.agent_id))
        return _compared(database, now, asked, rows, sources, policy) if asked else NOTHING_ASKED

    return database.read(compared)


def _asked(
    now: Level, queries: Sequence[PastQuery], owner: tuple[str | None, str | None]
) -> list[tuple[PastQuery, list[str]]]:
    """Return the queries that had found memories of an owner that are there, with these."""
    own = _own(now, queries, owner)
    return [(each, still) for each in queries if (still := [name for name in each.found if name in own])]


def _compared(  # noqa: PLR0917 - what is compared with what
    database: OpenDatabase,
    now: Level,
    asked: Sequence[tuple[PastQuery, list[str]]],
    rows: pa.Table,
    sources: Sequence[str],
    policy: str,
) -> Comparison:
    consolidated = set(sources)
    at_stake = np.array([not consolidated.isdisjoint(still) for _, still in asked])
    sample, weights = _sample(at_stake)
    asked = [asked[number] for number in sample]
    before = _found(database, now, asked) @ weights
    supposed = _supposed(database, now, rows, sources, policy)
    after = _found(database, replace(now, index=supposed), asked) @ weights
    return Comparison(len(asked), sum(len(still) for _, still in asked), float(before), float(after))


def _sample(at_stake: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which queries are asked, and the weight of each: a stratified sample, weights that sum to 1."""
    numbers, weights = [], []
    for stratum, most in ((np.flatnonzero(at_stake), _AT_STAKE), (np.flatnonzero(~at_stake), _OTHERS)):
        asked = min(len(stratum), most)
        if asked:
            numbers.append(stratum[np.arange(asked) * len(stratum) // asked])
            weights.append(np.full(asked, len(stratum) / asked / len(at_stake)))
    return np.concatenate(numbers), np.concatenate(weights)


def _own(now: Level, queries: Sequence[PastQuery], owner: tuple[str | None, str | None]) -> set[str]:
    """Return which memories that queries had found are there, and an owner's."""
    rows = now.index.find_ids(list({name for each in queries for name in each.found}))
    stored = now.memories._take_rows(
        rows[rows >= 0].tolist(), columns=["memory_id", "user_id", "agent_id"]
    ).to_pylist()
    return {row["memory_id"] for row in stored if (row["user_id"], row["agent_id"]) == owner}


def _found(
    database: OpenDatabase, now: Level, asked: Sequence[tuple[PastQuery, list[str]]]
) -> NDArray[np.float64]:
    """Return of each query the share of what it had found that it finds."""
    shares = []
    with Asking(database, now) as asking:
        for query, wanted in asked:
            where = {**query.scope, **json.loads(query.filter or "{}")}
            rows = asking.table(
                _RECALL.format(len(query.found)), [query.text, json.dumps(where) if where else ""]
            )
            quoted = [name for names in rows["derived_from"].to_pylist() for name in names or ()]
            there = now.index.find_ids(quoted) >= 0
            returned = {*rows[KEY].to_pylist(), *np.array(quoted, object)[there]}
            shares.append(sum(name in returned for name in wanted) / len(wanted))
    return np.array(shares)


def _supposed(
    database: OpenDatabase, now: Level, new: pa.Table, sources: Sequence[str], policy: str
) -> SearchIndex:
    """Return an index as it would be after a consolidation of those sources that are there still."""
    index = database.new_index(now.memories)
    index.sync(*now.tables)
    rows = index.find_ids(list(sources))
    rows = rows[rows >= 0]
    first = int(index.rows().max(initial=-1)) + 1
    row_ids = pa.array(np.arange(first, first + len(new)), pa.uint64())
    added = new.select(MEMORY_COLUMNS).append_column("_rowid", row_ids).combine_chunks().to_batches()
    archived = now.memories._take_rows(rows.tolist(), columns=[*MEMORY_COLUMNS, "_rowid"])
    at = archived.schema.get_field_index("tier")
    archived = archived.set_column(at, "tier", pa.array(["archived"] * len(archived), pa.string()))
    if policy == "delete":
        index.suppose(added, rows)
    else:
        index.suppose([*added, *archived.combine_chunks().to_batches()])
    made = links_of_new(now.memories, index, new, database.config.links, KINDS)
    first_ends, second_ends = (
        index.find_ids(made[name].combine_chunks()) for name in ("source_id", "target_id")
    )
    kinds = np.array([flow_code(each) for each in made["kind"].to_pylist()], np.uint8)
    start = int(index.links().rows.max(initial=-1)) + 1
    index.suppose_links(
        Links(np.arange(start, start + len(made)), first_ends, second_ends, made["weight"].to_numpy(), kinds)
    )
    return index
