"""The links between memories as adjacency lists, and activation that spreads over them.

Memories are named by row id. Every link is walked both ways. `LinkArrays` holds the links of a segment in
arrays that can be mapped; `LinkGraph` adds those that came since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.association_links import KINDS
from aios_db.schema.retrieval import RowIds
from aios_db.search import kernels
from aios_db.search.linkrun import INCOMING, NO_LINKS, LinkRun, Links, at_both_ends, joined
from aios_db.search.portable.links import Adjacency, More, entries
from aios_db.search.rowtable import RowTable

NEXT_IN_SESSION = KINDS.index("next_in_session")
SIMILAR = KINDS.index("similar")
SAME_ENTITY = KINDS.index("same_entity")
RECALLED_TOGETHER = KINDS.index("recalled_together")
OTHER_KIND = len(KINDS)  # a kind that a user invented

# How much of a memory's score arrives over a link of weight 1. A conversation's turns are about what the
# turns beside them are about, four per memory, and add up. Of all that comes over other links only the most
# arrives: a memory that a hundred passages mention is no better an answer than one that the best of them
# mentions, and none gets more than its share of one memory's score. Similar memories are found by the vectors
# anyway: more gain adds noise, as do memories that one query found, and what a memory was made of
# (`flow_code`).
# A memory divides its gain among the subjects its links lead to. To be mentioned by an answer says more than
# to mention one.
SESSION_GAIN = 0.25
SIMILAR_GAIN = 0.01
ASSOCIATION_GAIN = 0.75
MENTIONING_GAIN = 0.3
_GAINS = np.full(len(KINDS) + 2, ASSOCIATION_GAIN, np.float32)
_GAINS[[NEXT_IN_SESSION, SIMILAR, RECALLED_TOGETHER, -1]] = (
    SESSION_GAIN, SIMILAR_GAIN, SIMILAR_GAIN, MENTIONING_GAIN
)  # fmt: skip
_RUN = 1024  # as many links are kept in arrays
_FADED = 64  # links: what started has been weakened to a millionth, and only new memories count
_FRONTIER = 4096  # strongest memories that pass activation on, each hop


_NO_ADJACENCY: Adjacency = (
    np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.uint8)
)  # fmt: skip


def kind_code(kind: str) -> int:
    """Return the code of a kind of link."""
    return KINDS.index(kind) if kind in KINDS else OTHER_KIND


def flow_code(kind: str) -> int:
    """Return the code of the kind as which scores flow: what a memory was made of is similar to it."""
    return SIMILAR if kind == "derived_from" else kind_code(kind)


@dataclass(frozen=True)
class LinkArrays:
    """Adjacency lists in compressed sparse rows; each link is in the lists of both its ends.

    Attributes
    ----------
    offsets
        int64 ``(rows + 1,)``: the links of row ``i`` are entries ``offsets[i]:offsets[i + 1]``.
    targets, weights, kinds
        int32, float32 and uint8: the other end, (0, 1] or 0 when deleted, and the code of the kind, with
        `INCOMING` where the other end is the source.
    entries
        int32 ``(link rows, 2)``: the two entries of each link by its Lance row id, or -1.
    """

    offsets: NDArray[np.int64]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    entries: NDArray[np.int32]

    @classmethod
    def build(cls, links: Links) -> LinkArrays:
        """Sort links into adjacency lists."""
        count = len(links.rows)
        sources = np.concatenate([links.sources, links.targets])
        order = np.argsort(sources, kind="stable")
        offsets = np.zeros(int(sources.max(initial=-1)) + 2, np.int64)
        np.cumsum(np.bincount(sources), out=offsets[1:])
        entries = np.full((int(links.rows.max(initial=-1)) + 1, 2), -1, np.int32)
        place = np.empty(2 * count, np.int32)
        place[order] = np.arange(2 * count, dtype=np.int32)
        entries[links.rows, 0], entries[links.rows, 1] = place[:count], place[count:]
        weights, kinds = np.tile(links.weights, 2)[order], at_both_ends(links.kinds)[order]
        targets = np.concatenate([links.targets, links.sources])[order].astype(np.int32)
        return cls(offsets, targets, weights, kinds, entries)


@dataclass
class _Own:
    """What of a graph no copy has, so that it may be changed in place."""

    weights: bool = False
    ends: set[int] = field(default_factory=set)
    """Memories whose links in the dictionary are."""
    runs: set[LinkRun] = field(default_factory=set)


class LinkGraph:
    """All links: the arrays of a segment, and what came since as runs of many and a dictionary."""

    def __init__(self, arrays: LinkArrays | None = None) -> None:
        self._arrays = LinkArrays.build(NO_LINKS) if arrays is None else arrays
        self._recent: dict[int, dict[int, tuple[int, float, int]]] = {}
        self._ends: dict[int, tuple[int, int]] = {}
        self._runs: list[LinkRun] = []
        self._last = -1  # the highest row id in a run or the dictionary
        self._has_recent = RowTable(np.bool_, False)
        self._names = RowTable(np.uint64, 0)
        self._own = _Own()

    def copy(self) -> LinkGraph:
        """Return a graph that may be changed, while this one stays as it is from now on."""
        copied = LinkGraph(self._arrays)
        copied._recent, copied._ends, copied._runs = dict(self._recent), dict(self._ends), list(self._runs)
        copied._last, copied._has_recent = self._last, self._has_recent.copy()
        copied._names = self._names.copy()
        return copied

    def name(self, rows: RowIds, names: NDArray[np.uint64]) -> None:
        """Set the name in the title of each memory, uint64: `labels.shared_name`, 0 for none."""
        titled = names != 0
        untitled = rows[~titled & (self._names[rows] != 0)]
        if len(untitled):
            self._names[untitled] = np.uint64(0)
        if titled.any():
            self._names[rows[titled]] = names[titled]

    def put(self, links: Links) -> None:
        """Add links, or give them a new weight where their row id is known."""
        entries = self._arrays.entries
        packed = links.rows < len(entries)
        packed[packed] = entries[links.rows[packed], 0] >= 0
        for row, weight in zip(links.rows[packed].tolist(), links.weights[packed].tolist(), strict=True):
            self._reweigh(row, weight)
        self._add(links.where(~packed))

    def _add(self, links: Links) -> None:
        """Add links that are not in the arrays."""
        known = links.rows <= self._last
        if known.any():
            self.delete(links.rows[known].tolist())
        self._last = max(self._last, int(links.rows.max(initial=-1)))
        if len(links) >= _RUN:
            self._add_run(links)
        else:
            for row, source, target, weight, kind in zip(
                *(column.tolist() for column in vars(links).values()), strict=True
            ):
                self._ends[row] = (source, target)
                self._links_of(source)[row] = (target, weight, kind)
                self._links_of(target)[row] = (source, weight, kind | int(INCOMING))
            self._has_recent[np.concatenate([links.sources, links.targets])] = True
            if len(self._ends) >= _RUN:  # one takes some 500 bytes in the dictionary, and 60 in a run
                single = self._single()
                self._recent, self._ends, self._has_recent = {}, {}, RowTable(np.bool_, False)
                self._own.ends.clear()
                self._add_run(single)

    def _add_run(self, links: Links) -> None:
        """Add links as a run, and merge those that are no longer than what lies behind them."""
        self._runs.append(LinkRun(links))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs[-2:] = [LinkRun(joined([run.links() for run in self._runs[-2:]]))]

    def _single(self) -> Links:
        """Return the links in the dictionary."""
        recent = [(row, a, b, *self._recent[a][row][1:]) for row, (a, b) in self._ends.items()]
        found = np.array(recent, np.float64).reshape(-1, 5)  # exact: row ids are far below 2^53
        rows, sources, targets = found[:, :3].T.astype(np.int64)
        return Links(rows, sources, targets, found[:, 3].astype(np.float32), found[:, 4].astype(np.uint8))

    def delete(self, rows: Iterable[int]) -> None:
        """Take links out by their row ids; unknown ones are ignored."""
        entries = self._arrays.entries
        for row in rows:
            if row < len(entries) and entries[row, 0] >= 0:
                self._reweigh(row, 0.0)
            elif row in self._ends:
                for end in self._ends.pop(row):
                    self._links_of(end).pop(row, None)
            elif row <= self._last:
                for number, run in enumerate(self._runs):
                    place = run.find(row)
                    if place >= 0:
                        self._own_run(number).delete(place)

    @property
    def recent(self) -> int:
        """Number of links outside the arrays."""
        return len(self._ends) + sum(map(len, self._runs))

    def _more(self, rows: RowIds) -> More:
        """Return links outside the arrays of some memories: place in ``rows``, other end, weight, kind."""
        touched = np.flatnonzero(self._has_recent[rows])
        found = [
            (i, *link)
            for i, row in zip(touched.tolist(), rows[touched].tolist(), strict=True)
            for link in self._recent[row].values()
        ]
        origins, targets, weights, kinds = zip(*found, strict=True) if found else ((), (), (), ())
        recent = (
            np.array(origins, np.int64), np.array(targets, np.int64), np.array(weights, np.float32),
            np.array(kinds, np.uint8),
        )  # fmt: skip
        if not self._runs:
            return recent
        parts = [recent, *(run.neighbors(rows) for run in self._runs)]
        origin, target, weight, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
        return origin, target, weight, kind

    def spread(
        self,
        rows: RowIds,
        scores: NDArray[np.float64],
        hops: int,
        counted: Callable[[RowIds, NDArray[np.float64]], NDArray[np.float64]] | None = None,
        among: Callable[[RowIds], NDArray[np.bool_]] | None = None,
    ) -> tuple[RowIds, NDArray[np.float64], RowIds]:
        """Let activation flow over the links.

        Each hop, a memory sends its activation over its links, weakened by their weight and gain. What turns
        of a session send is summed; of the rest the greatest arrives, so that a memory without a score of its
        own never overtakes the one it was reached from. A name in a text leads to all memories with that
        title, which share what it sends by how well they answer themselves (softmax of ``scores``), and so do
        all memories that mention a title. It is personalised PageRank cut off after ``hops`` links, over a
        graph whose nodes are memories and names.

        Parameters
        ----------
        rows, scores
            The seeds, ascending, and their activation; what is not positive sends nothing.
        hops
            Links to follow.
        counted
            Returns the scores of memories as they count, asked of the seeds and of those that pass scores
            on; by default all counts.
        among
            Tells which memories there are: links to others are as if they were not. By default all.

        Returns
        -------
        rows, scores, distances
            Every memory reached or given, the activation that arrived over links, and the least number of
            links from a seed (0 for the seeds).
        """
        if counted is not None:
            scores = counted(rows, scores)
        seeds = np.flatnonzero(scores > 0)
        frontier, activation = rows[seeds], scores[seeds]
        reached, arrived = rows, np.zeros(len(rows))
        distances = np.zeros(len(rows), np.int64)
        packed = self._arrays
        packed_links = packed.offsets, packed.targets, packed.weights, packed.kinds
        adjacency = packed_links if among is None else _NO_ADJACENCY
        known = 0
        for hop in range(1, hops + 1):
            if len(frontier) == 0 or (hop > _FADED and len(reached) == known):
                break
            known = len(reached)
            if len(frontier) > _FRONTIER:
                strongest = np.argsort(-activation, kind="stable")[:_FRONTIER]
                frontier, activation = frontier[strongest], activation[strongest]
            if counted is not None and hop > 1:
                activation = counted(frontier, activation)
            more = self._more(frontier)
            if among is not None:
                more = _leading_to(among, entries(frontier, packed_links, more))
            frontier, activation = kernels.links.step(
                frontier, activation, (rows, scores), adjacency, more, self._names.values, _GAINS
            )
            reached, arrived, distances = kernels.links.merge(
                reached, arrived, distances, frontier, activation, hop
            )
        return reached, arrived, distances

    def links(self) -> Links:
        """Return all links that were not deleted."""
        entries = self._arrays.entries
        rows = np.flatnonzero(entries[:, 0] >= 0) if len(entries) else np.empty(0, np.int64)
        first, second = entries[rows, 0], entries[rows, 1]
        keep = self._arrays.weights[first] > 0
        rows, first, second = rows[keep], first[keep], second[keep]
        packed = Links(
            rows,
            self._arrays.targets[second].astype(np.int64),
            self._arrays.targets[first].astype(np.int64),
            self._arrays.weights[first],
            self._arrays.kinds[first],
        )
        return joined([packed, self._single(), *(run.links() for run in self._runs)])

    def _links_of(self, end: int) -> dict[int, tuple[int, float, int]]:
        """Return the links of a memory in the dictionary, which may be changed."""
        if end not in self._own.ends:
            self._recent[end] = dict(self._recent.get(end, ()))
            self._own.ends.add(end)
        return self._recent[end]

    def _own_run(self, number: int) -> LinkRun:
        """Return one of the runs, which may be changed."""
        run = self._runs[number]
        if run not in self._own.runs:
            run = self._runs[number] = run.copy()
            self._own.runs.add(run)
        return run

    def _reweigh(self, row: int, weight: float) -> None:
        if not self._own.weights:
            self._arrays = replace(self._arrays, weights=self._arrays.weights.copy())
            self._own.weights = True
        self._arrays.weights[self._arrays.entries[row]] = weight


def _leading_to(among: Callable[[RowIds], NDArray[np.bool_]], links: More) -> More:
    """Return those links that lead to some memories."""
    origins, targets, weights, kinds = links
    keep = among(targets)
    return origins[keep], targets[keep], weights[keep], kinds[keep]
