"""`SearchIndex`: vectors, keywords and links of the memories, kept up with the Lance tables by their deltas.

Reads see a mapped `Segment` and a `Tail` in memory. `sync` reads what changed in the tables since the last
call; `save` merges both into a new segment. The index is derived: deleting its directory loses nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.provenance.standing import Standing
from aios_db.schema.retrieval import Filter, Rows
from aios_db.search import kernels, source
from aios_db.search.analyzer import AUTO, Analyzer
from aios_db.search.attributes import attributes
from aios_db.search.build import State, merge
from aios_db.search.contents import other_keys
from aios_db.search.graph import kind_code
from aios_db.search.keys import Keys, digests_of, heads
from aios_db.search.keywords import holding_any
from aios_db.search.labels import HAS_TITLE, Labels, memory_labels
from aios_db.search.linkrun import Links
from aios_db.search.marks import marks
from aios_db.search.nearest import Neighbors
from aios_db.search.part import ATTRIBUTES, COLUMNS, Part
from aios_db.search.phrases import phrases
from aios_db.search.postings import Triples
from aios_db.search.searching import Searching
from aios_db.search.segment import Segment, Version
from aios_db.search.source import NOTHING, Appended
from aios_db.search.tail import Tail
from aios_db.security.scope import EVERYTHING, Scope

if TYPE_CHECKING:
    from lance import LanceDataset

logger = logging.getLogger("aios_db.search")

_SMALL_TAIL, _LARGE_TAIL = 4096, 65536
_FEW_NAMES = 1024  # are remembered when a search names them: the next step will look them up


class SearchIndex(Searching):
    """The index of one database; safe to use from many threads.

    Parameters
    ----------
    directory
        Where segments are written; None keeps the index in memory only.
    segment
        The segment to start from.
    dimension
        Length of the vectors.
    language
        The language of all texts, or ``auto``.
    scope
        The index never hears of memories outside of it, nor of links that lead out.
    standing
        What is found of the memories, and what counts less; by default all counts fully.
    """

    def __init__(  # noqa: PLR0917 - what it is made of
        self,
        directory: Path | None,
        segment: Segment,
        dimension: int,
        language: str = AUTO,
        scope: Scope = EVERYTHING,
        standing: Standing | None = None,
    ) -> None:
        self.scope = scope
        self.directory, self.dimension, self.language = directory, dimension, language
        self.with_counts: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda rows: rows
        """Adds to the rows of `memories` what is counted elsewhere."""
        self.standing = standing or Standing()
        self._analyzer = Analyzer(language)
        self._lock = threading.RLock()
        self._saving = threading.Lock()
        self._tables: tuple[LanceDataset, LanceDataset] | None = None
        self._version = segment.version
        self._whole = True
        self._use(segment)

    @classmethod
    def open(
        cls,
        directory: Path | None,
        dimension: int,
        language: str = AUTO,
        scope: Scope = EVERYTHING,
        standing: Standing | None = None,
    ) -> SearchIndex:
        """Map the newest segment; without a usable one the index is empty and the first `sync` fills it.

        A segment of another language cannot be used. Each scope has a directory of its own.
        """
        segment = Segment.read(directory, dimension, language) if directory else None
        return cls(directory, segment or Segment.empty(dimension), dimension, language, scope, standing)

    @property
    def version(self) -> Version:
        """The versions of the tables that the index reflects."""
        return self._version

    @property
    def tail_rows(self) -> int:
        """Memories outside the segment; `save` brings it to 0."""
        return len(self._tail)

    @property
    def needs_save(self) -> bool:
        """Whether enough changed since the segment was written to write a new one."""
        limit = min(max(len(self._segment) // 4, _SMALL_TAIL), _LARGE_TAIL)
        changed = self._graph.recent // 32 + self._rows.recent // 8 + self._segment.dead
        return len(self._tail) + changed > limit

    @property
    def needs_save_now(self) -> bool:
        """Whether so much changed that whoever writes in bulk should wait for a new segment.

        Every new segment is a copy of all that went before; so this lets the tail grow with it.
        """
        return len(self._tail) > min(max(len(self._segment) // 2, _LARGE_TAIL), 2 * _LARGE_TAIL)

    def __len__(self) -> int:
        return self._totals.documents

    # Keeping up

    def sync(self, memories: LanceDataset, links: LanceDataset, appended: Appended = NOTHING) -> None:
        """Catch up with the tables.

        The snapshot of ``links`` must not be newer than that of ``memories``: a link whose end is missing is
        skipped for good. Rows that the caller has just ``appended`` need not be read.
        """
        with self._lock:
            if not self._whole:
                logger.warning("a change of the search index was broken off, reading what changed again")
                with self._changing():
                    self._use(self._saved() or Segment.empty(self.dimension))
            version = Version(memories.version, links.version)
            if version == self._version:
                return
            if version.memories < self._version.memories or version.links < self._version.links:
                logger.warning("tables older than the search index, reading them again")
                with self._changing():
                    self._use(Segment.empty(self.dimension))
            elif self.needs_save:
                self._use_newer()  # another process may have saved one
            self._catch_up(memories, links, appended)

    def save(self) -> None:
        """Merge everything into a new segment, write it and use it; searches and `sync` go on meanwhile."""
        with self._saving:
            with self._lock:
                if not self._whole:
                    return  # `sync` comes first
                state = self._state()
            segment = merge(state)
            if self.directory is not None:
                segment.write(self.directory, self.language)
                segment = self._saved() or segment  # mapped, not held
            with self._lock:
                with self._changing():
                    self._use(segment)
                if self._tables is not None:
                    self._catch_up(*self._tables)

    def nearest(
        self,
        vectors: NDArray[np.float32],
        k: int,
        least: float = -1.0,
        among: Callable[[Part], NDArray[np.bool_]] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ``k`` nearest memories of each of many vectors, approximately in a large collection.

        Parameters
        ----------
        vectors
            float32 ``(n, dimension)``.
        k
            Neighbours of each.
        least
            Leave out what is less similar.
        among
            Tells which memories of a part there are; by default all.

        Returns
        -------
        row_ids, cosines
            int64 and float32 ``(n, k)``, best first, padded with -1 and 0.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        with self._lock:
            neighbors, parts = self._neighbors, self._parts
        row_ids, cosines = neighbors.find(parts, vectors, k, among)
        near = (row_ids >= 0) & (cosines >= least)
        return np.where(near, row_ids, -1), np.where(near, cosines, np.float32(0))

    # Looking up

    def find_ids(self, memory_ids: Keys) -> Rows:
        """Return the row id of each memory_id, or -1."""
        with self._lock:
            if len(memory_ids) <= _FEW_NAMES and isinstance(memory_ids, pa.Array):
                rows = self._named.find(memory_ids)
                if (rows >= 0).all():
                    return self._living(rows)
            return self._living(self._ids.find(memory_ids))

    def memory_ids(self, row_ids: Rows) -> pa.StringArray:
        """Return the memory_id of each row id."""
        names = self._column("ids", row_ids)
        width = names.dtype.itemsize
        if names.view(np.uint8)[width - 1 :: width].all():  # none is shorter
            offsets = np.arange(0, width * (len(names) + 1), width, dtype=np.int32)
            found = pa.StringArray.from_buffers(len(names), pa.py_buffer(offsets), pa.py_buffer(names))
        else:
            found = pa.array([name.decode() for name in names.tolist()], pa.string())
        if len(found) <= _FEW_NAMES:
            with self._lock:
                self._named.put(found, row_ids)
        return found

    def times(self, row_ids: Rows) -> NDArray[np.int64]:
        """Return when each memory happened, or was stored: microseconds since 1970."""
        return self._column("times", row_ids)

    def memories(self, memory_ids: Keys) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        """Return which memories are there, and of those the columns of `returned_schema`, in their order."""
        with self._lock:
            rows = self.find_ids(memory_ids)
            known = rows >= 0
            self.standing.look(self._parts)
            rows = rows[known]
            return known, self.standing.shown(self.with_counts(self._rows.take(rows)), rows)

    def trust(self, row_ids: Rows) -> NDArray[np.float32]:
        """Return the trust in each memory, as it is now, 1 for unknown ones."""
        with self._lock:
            self.standing.look(self._parts)
            return np.where(self._passes(row_ids, None), self.standing.trust(row_ids), np.float32(1))

    def held(self) -> dict[str, str]:
        """Return the memory_ids of what is held in quarantine, with the reason, in the order of storing."""
        with self._lock:
            self.standing.look(self._parts)
            reasons = dict(self.standing.held())
            rows = np.sort(np.fromiter(reasons, np.int64))
            rows = rows[self._passes(rows, None)]
            return {
                name: reasons[row]
                for name, row in zip(self.memory_ids(rows).to_pylist(), rows.tolist(), strict=True)
            }

    def find_digests(self, digests: NDArray[np.bytes_]) -> Rows:
        """Return the row id of each memory named by the digest of its memory_id, or -1; see `digests_of`."""
        with self._lock:
            return self._living(self._ids.find_digests(digests))

    def find_content(self, hashes: Keys) -> Rows:
        """Return the row id of a memory with each content hash, or -1."""
        with self._lock:
            rows = self._living(self._hashes.find(hashes))
            same = self._column("hashes", rows) == heads(digests_of(hashes))  # else it has changed since
            return np.where(same, rows, -1)

    def find_other(self, keys: Keys) -> Rows:
        """Return the row id of the memory last put with each of the `other_keys`, or -1.

        A memory that was changed is still found under the keys it had.
        """
        with self._lock:
            return self._living(self._others.find(keys))

    def labelled(self, label: int, limit: int) -> Rows:
        """Return the rows of the memories with a label, ascending; none when more than ``limit``."""
        with self._lock:
            dead = sum(part.dead for part in self._parts)
            if self._labels.length(label) - dead > limit:
                return np.empty(0, np.int64)
            rows = self._labels.rows(label)
            rows = rows[self._passes(rows, None)]
            return rows if len(rows) <= limit else np.empty(0, np.int64)

    def label_rows(self, label: int) -> Rows:
        """Return the rows of the memories with a label, deleted ones among them."""
        with self._lock:
            return self._labels.rows(label)

    def users(self, row_ids: Rows) -> NDArray[np.uint64]:
        """Return a key of the user of each memory, 0 where it has none."""
        return self.owners(row_ids, "user_id")

    def owners(self, row_ids: Rows, column: str) -> NDArray[np.uint64]:
        """Return a key of the ``user_id`` or ``agent_id`` of each memory, 0 where it has none."""
        return self._column(column, row_ids)

    def has_others(self, user: int) -> bool:
        """Tell whether there are memories of another user than the one with a key."""
        with self._lock:
            columns = (part.columns["user_id"] for part in self._parts)
            return any(bool(((each != 0) & (each != user)).any()) for each in columns)

    def living(self, row_ids: Rows) -> NDArray[np.bool_]:
        """Tell of which rows the index has a memory."""
        with self._lock:
            return self._passes(row_ids, None)

    @property
    def link_count(self) -> int:
        """How many links the index has."""
        with self._lock:
            return len(self._all_links())

    def links(self) -> Links:
        """Return all links, by their row ids and those of their ends."""
        with self._lock:
            return self._graph.links()

    def label_count(self, label: int) -> int:
        """Return how many memories have a label, deleted ones among them."""
        with self._lock:
            return self._labels.length(label)

    def present_labels(self, labels: Sequence[int]) -> list[int]:
        """Return those of the labels that any memory has."""
        with self._lock:
            return self._labels.present(labels)

    def title_names(self, row_ids: Rows) -> NDArray[np.uint64]:
        """Return what the titles of one name have in common (`labels.shared_name`), 0 without a title."""
        return self._column("names", row_ids)

    def labelled_around(self, label: int, rows: Rows, count: int, where: Filter) -> Rows:
        """Return the rows of the memories with a label, from ``count`` before ``rows`` to ``count`` behind.

        Ascending; ``where`` leaves out memories that had the label before they were changed.
        """
        with self._lock:
            found = self._labels.rows(label)
            first, last = np.searchsorted(found, [rows.min(), rows.max() + 1])
            before = self._first_passing(found[:first][::-1], count, where)[::-1]
            behind = self._first_passing(found[last:], count, where)
            inside = found[first:last]
            return np.concatenate([before, inside[self._passes(inside, where)], behind])

    def holding_all(self, text: str, limit: int) -> Rows:
        """Return the rows of the memories that hold every word of ``text``; none when more than ``limit``."""
        words = self._analyzer.query(text, self._totals.present_languages)
        if not words:
            return np.empty(0, np.int64)
        found = []
        with self._lock:
            for part in self._parts:
                lists = sorted((holding_any(part, word) for word in words), key=len)
                documents = lists[0]
                for other in lists[1:]:
                    documents = documents[np.isin(documents, other, assume_unique=True)]
                documents = documents[part.alive[documents]]
                found.append(part.rows[documents])
        rows = np.sort(np.concatenate(found))
        return rows if len(rows) <= limit else np.empty(0, np.int64)

    def names(self, row: int, text: str) -> list[str]:
        """Return `phrases` of a memory's text; those of memories just written are known."""
        known = self._names.get(row)
        return phrases(text) if known is None else known

    @property
    def has_titles(self) -> bool:
        """Whether any memory has a title."""
        with self._lock:
            return self._labels.length(HAS_TITLE) > 0

    @property
    def parts(self) -> tuple[Part, ...]:
        """The segment and what came since; to be looked at while nothing is written."""
        return self._parts

    # Inside

    @property
    def _parts(self) -> tuple[Part, ...]:
        return (self._segment, self._tail) if len(self._tail) else (self._segment,)

    def _use(self, segment: Segment) -> None:
        self._segment, self._tail = segment, Tail(self.dimension)
        self._labels = Labels(segment.labels)
        self._ids, self._hashes, self._graph = segment.ids, segment.hashes, segment.graph()
        self._others = segment.others
        self._rows = segment.stored_rows()
        self.standing.reads(self._rows.take, self.find_ids, self.dimension)
        self._named = kernels.names.Names()
        self._forget_asked()
        self._names: dict[int, list[str]] = {}
        self._neighbors = Neighbors(segment)
        self._version = segment.version
        self._totals = segment.totals()

    def _saved(self) -> Segment | None:
        return Segment.read(self.directory, self.dimension, self.language) if self.directory else None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change what the index holds: until the end is reached, `sync` begins again with what was saved."""
        self._whole = False
        yield
        self._whole = True

    def _use_newer(self) -> None:
        segment = self._saved()
        if segment is not None and segment.version.memories > self._segment.version.memories:
            with self._changing():
                self._use(segment)

    def _catch_up(self, memories: LanceDataset, links: LanceDataset, appended: Appended = NOTHING) -> None:
        with self._changing():
            self._named.clear()
            self._forget_asked()
            self._sync_memories(memories, appended.memories)
            self._sync_links(links, appended.links)
            self._version = Version(memories.version, links.version)
            self._tables = memories, links

    def _state(self) -> State:
        tail = self._tail
        return State(
            self._segment,
            self._segment.alive.copy(),
            {name: column.copy() if name == "alive" else column for name, column in tail.columns.items()},
            Triples(*tail.terms.triples()),
            Triples(*self._labels.recent.triples()),
            self._labels.lost,
            {"id": self._ids.copy(), "hash": self._hashes.copy(), "other": self._others.copy()},
            self._graph.links(),
            self._totals.vectors.copy(),
            self._rows.copy(),
            self._version,
        )

    def _column(self, name: str, rows: Rows) -> NDArray[Any]:
        """Return a column's value of each row, 0 of unknown ones."""
        with self._lock:
            at = self._segment.positions(rows)
            if (at >= 0).all() and not len(self._tail):
                return self._segment.columns[name][at]
            values = np.zeros(len(rows), COLUMNS[name])
            for part in self._parts:
                at = part.positions(rows)
                inside = np.flatnonzero(at >= 0)
                values[inside] = part.columns[name][at[inside]]
            return values

    def _passes(self, rows: Rows, where: Filter | None) -> NDArray[np.bool_]:
        passed = np.zeros(len(rows), np.bool_)
        for part, at, inside in self._living_in_parts(rows):
            passed[inside] = part.matching(where, at)
        return passed

    def _first_passing(self, rows: Rows, count: int, where: Filter) -> Rows:
        """Return the first ``count`` of some rows that pass, however many lie between."""
        passing, size = rows[:0], 4 * count
        while len(passing) < count and len(rows):
            some, rows, size = rows[:size], rows[size:], 2 * size
            passing = np.concatenate([passing, some[self._passes(some, where)]])
        return passing[:count]

    def _living_in_parts(self, rows: Rows) -> Iterator[tuple[Part, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each part with the documents in it that are alive, and their places in ``rows``."""
        for part in self._parts:
            at = part.positions(rows)
            inside = np.flatnonzero(at >= 0)
            inside = inside[part.alive[at[inside]]]
            if len(inside):
                yield part, at[inside], inside

    def _has_known(self, rows: Rows) -> NDArray[np.bool_]:
        """Tell of which rows there is a memory, or was one that is deleted."""
        known = np.zeros(len(rows), np.bool_)
        for part in self._parts:
            known |= part.positions(rows) >= 0
        return known

    def _living(self, rows: Rows) -> Rows:
        return np.where(self._passes(rows, None), rows, -1)

    def _all_rows(self) -> Rows:
        return np.concatenate([part.rows[part.alive] for part in self._parts])

    def _all_links(self) -> Rows:
        return self._graph.links().rows

    def _kill(self, rows: Rows) -> None:
        for part, at, _ in self._living_in_parts(rows):
            part.kill(at)
            self.standing.killed(part, at)
            self._totals.add(part, at, -1)

    def _sync_memories(self, memories: LanceDataset, new: pa.Table | None) -> None:
        since = self._version.memories
        if memories.version == since:
            return
        self._names.clear()
        whole = self.scope.condition
        deleted, changed = source.delta(memories, since, source.MEMORY_COLUMNS, self._all_rows, new, whole)
        self._kill(deleted)
        for batch in changed:
            self._put(self._seen(batch) if self.scope else batch)

    def _sync_links(self, links: LanceDataset, new: pa.Table | None) -> None:
        since = self._version.links
        if links.version == since:
            return
        deleted, changed = source.delta(links, since, source.LINK_COLUMNS, self._all_links, new)
        self._graph.delete(deleted.tolist())
        for batch in changed:
            sources, targets = (self._row_of_each(batch[name]) for name in ("source_id", "target_id"))
            known = (sources >= 0) & (targets >= 0)
            rows = batch["_rowid"].to_numpy().astype(np.int64)
            named = batch["kind"].dictionary_encode()
            codes = np.array([kind_code(kind) for kind in named.dictionary.to_pylist()], np.uint8)
            kinds = codes[named.indices.to_numpy()]
            weights = batch["weight"].to_numpy()
            self._graph.put(Links(rows[known], sources[known], targets[known], weights[known], kinds[known]))

    def _row_of_each(self, column: pa.StringArray) -> Rows:
        """Return `find_ids` of a column in which most ids are repeated."""
        encoded = column.dictionary_encode()
        rows: Rows = self.find_ids(encoded.dictionary)[encoded.indices.to_numpy()]
        return rows

    def _seen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows in the scope; others may have been in it before."""
        seen = self.scope.sees(batch)
        self._kill(batch.filter(pc.invert(seen))["_rowid"].to_numpy().astype(np.int64))
        return batch.filter(seen)

    def _put(self, batch: pa.RecordBatch) -> None:
        """Add memories; of those that are known with the same content only the attributes change."""
        columns = attributes(batch)
        fresh = self._update_same(columns)
        rows = columns["rows"][fresh]
        before = self._labels_of(rows[self._has_known(rows)])
        self._rows.put(batch)
        self.standing.changed(columns["rows"])
        if len(fresh) == 0:
            return
        self._kill(rows)
        batch = batch.take(pa.array(fresh)) if len(fresh) < len(batch) else batch
        titles, texts = batch["title"].to_pylist(), batch["text"].to_pylist()
        analyzed = self._analyzer.terms(
            [f"{title} {text}" if title else text for title, text in zip(titles, texts, strict=True)]
        )
        values = {name: column[fresh] for name, column in columns.items()}
        values |= {"lengths": analyzed.lengths, "languages": analyzed.languages}
        first = len(self._tail)
        self._tail.extend(values, analyzed.terms, analyzed.counts, marks(batch))
        self._totals.add(self._tail, np.arange(first, len(self._tail)))
        self._graph.name(rows, values["names"])
        scopes = (batch[name].to_pylist() for name in ("user_id", "agent_id", "session_id"))
        for row, title, text, *scope in zip(rows.tolist(), titles, texts, *scopes, strict=True):
            self._names[row] = names = phrases(text)
            self._labels.add(row, memory_labels(title, names, *scope), before.get(row))
        self._ids.add(batch["memory_id"], rows.tolist())
        self._hashes.add(batch["content_hash"], rows.tolist())
        for keys, of_key in other_keys(batch, rows):
            self._others.add(keys, of_key.tolist())

    def _update_same(self, columns: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Update the attributes of memories whose content is known; return the places of the others."""
        fresh = np.ones(len(columns["rows"]), np.bool_)
        for part, at, inside in self._living_in_parts(columns["rows"]):
            same = part.columns["contents"][at] == columns["contents"][inside]
            places = inside[same]
            part.update(at[same], {name: columns[name][places] for name in ATTRIBUTES})
            fresh[places] = False
        return np.flatnonzero(fresh)

    def _labels_of(self, rows: Rows) -> dict[int, dict[int, int]]:
        """Return the labels of living memories, as they were when these were put."""
        columns = self._rows.take(rows)
        names = (columns[name].to_pylist() for name in ("title", "text", "user_id", "agent_id", "session_id"))
        return {
            row: memory_labels(title, phrases(text), *scope)
            for row, title, text, *scope in zip(rows.tolist(), *names, strict=True)
        }
