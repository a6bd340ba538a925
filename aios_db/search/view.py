"""What an index holds at one version of the tables: a mapped segment, a growing one, links and statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.provenance.standing import Standing
from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search import kernels
from aios_db.search.analyzer import Analyzer
from aios_db.search.build import State
from aios_db.search.growing import GrowingSegment
from aios_db.search.joint import JointArrays, JointVectors, Question
from aios_db.search.keys import Keys
from aios_db.search.labels import Labels
from aios_db.search.nearest import Neighbors
from aios_db.search.part import COLUMNS, Part
from aios_db.search.postings import Triples
from aios_db.search.queries import KeywordQuery, VectorQuery
from aios_db.search.segment import Segment

_FEW_NAMES = 1024  # are remembered when a search names them: the next step will look them up


class View:
    """One state of the index, which its `Writer` brings to the next; both are called under the index's lock.

    Parameters
    ----------
    segment
        What was saved.
    dimension
        Length of the vectors.
    analyzer
        Makes the terms of queries.
    standing
        What is found of the memories; it reads their rows here.
    """

    def __init__(self, segment: Segment, dimension: int, analyzer: Analyzer, standing: Standing) -> None:
        self.segment, self.growing = segment, GrowingSegment(dimension)
        self.analyzer, self.standing = analyzer, standing
        self.labels = Labels(segment.labels)
        self.ids, self.hashes, self.others = segment.ids, segment.hashes, segment.others
        self.graph, self.stored = segment.graph(), segment.stored_rows()
        self.neighbors = Neighbors(segment)
        self.joint = JointVectors(segment.joint())
        self.version, self.totals = segment.version, segment.totals()
        self.phrases: dict[int, list[str]] = {}
        """Of the memories that were written last, by row id."""
        self._just_named = kernels.names.Names()
        self._by_words: KeywordQuery | None = None
        self._by_vector: VectorQuery | None = None
        self._by_joint: tuple[Question, tuple[RowIds, NDArray[np.uint8], NDArray[np.float64]]] | None = None
        standing.reads(self.stored.take, self.find_ids, dimension)

    def __len__(self) -> int:
        return self.totals.documents

    @property
    def parts(self) -> tuple[Part, ...]:
        """The segment and what came since."""
        return (self.segment, self.growing) if len(self.growing) else (self.segment,)

    @property
    def changes(self) -> int:
        """How much came since the segment, in memories to be merged with it."""
        changed = self.graph.recent // 32 + self.stored.recent // 8 + self.segment.dead
        return len(self.growing) + changed

    def state(self) -> State:
        """Return what there is now, to be merged while this goes on."""
        growing = self.growing
        return State(
            self.segment,
            self.segment.alive.copy(),
            {name: column.copy() if name == "alive" else column for name, column in growing.columns.items()},
            Triples(*growing.terms.triples()),
            Triples(*self.labels.recent.triples()),
            self.labels.lost,
            {"id": self.ids.copy(), "hash": self.hashes.copy(), "other": self.others.copy()},
            self.graph.links(),
            self.totals.vectors.copy(),
            self.stored.copy(),
            self._living_joint(),
            self.version,
        )

    def _living_joint(self) -> JointArrays:
        arrays = self.joint.arrays()
        return arrays.of((arrays.sets > 0) & self.passes(arrays.rows))

    # Rows

    def find_ids(self, memory_ids: Keys) -> RowIds:
        """Return the row id of each memory_id, or -1."""
        if len(memory_ids) <= _FEW_NAMES and isinstance(memory_ids, pa.Array):
            rows = self._just_named.find(memory_ids)
            if (rows >= 0).all():
                return self.living(rows)
        return self.living(self.ids.find(memory_ids))

    def note_names(self, memory_ids: pa.StringArray, row_ids: RowIds) -> None:
        """Remember the row ids of a few memory_ids, which are about to be looked up."""
        if len(memory_ids) <= _FEW_NAMES:
            self._just_named.put(memory_ids, row_ids)

    def living(self, rows: RowIds) -> RowIds:
        """Return the row ids, -1 in the place of those of which there is no memory."""
        return np.where(self.passes(rows), rows, -1)

    def passes(self, rows: RowIds, where: Filter | None = None) -> NDArray[np.bool_]:
        """Tell which memories are there and pass a filter."""
        passed = np.zeros(len(rows), np.bool_)
        for part, at, inside in self.living_in_parts(rows):
            passed[inside] = part.matching(where, at)
        return passed

    def living_in_parts(self, rows: RowIds) -> Iterator[tuple[Part, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each part with the documents in it that are alive, and their places in ``rows``."""
        for part in self.parts:
            at = part.positions(rows)
            inside = np.flatnonzero(at >= 0)
            inside = inside[part.alive[at[inside]]]
            if len(inside):
                yield part, at[inside], inside

    def first_passing(self, rows: RowIds, count: int, where: Filter) -> RowIds:
        """Return the first ``count`` of some rows that pass, however many lie between."""
        passing, size = rows[:0], 4 * count
        while len(passing) < count and len(rows):
            some, rows, size = rows[:size], rows[size:], 2 * size
            passing = np.concatenate([passing, some[self.passes(some, where)]])
        return passing[:count]

    def has_known(self, rows: RowIds) -> NDArray[np.bool_]:
        """Tell of which rows there is a memory, or was one that is deleted."""
        known = np.zeros(len(rows), np.bool_)
        for part in self.parts:
            known |= part.positions(rows) >= 0
        return known

    def all_rows(self) -> RowIds:
        """Return the row ids of all memories."""
        return np.concatenate([part.rows[part.alive] for part in self.parts])

    def column(self, name: str, rows: RowIds) -> NDArray[Any]:
        """Return a column's value of each row, 0 of unknown ones."""
        at = self.segment.positions(rows)
        if (at >= 0).all() and not len(self.growing):
            return self.segment.columns[name][at]
        values = np.zeros(len(rows), COLUMNS[name])
        for part in self.parts:
            at = part.positions(rows)
            inside = np.flatnonzero(at >= 0)
            values[inside] = part.columns[name][at[inside]]
        return values

    # Queries

    def keyword_query(self, text: str) -> KeywordQuery:
        """Return what is known of a text here, of the last one again: `recall` searches, and then scores."""
        if self._by_words is None or self._by_words.text != text:
            self._by_words = KeywordQuery(text, self.analyzer, self.parts)
        return self._by_words

    def vector_query(self, vector: NDArray[np.float32]) -> VectorQuery:
        """Return what is known of a vector here, of the last one again."""
        if self._by_vector is None or not np.array_equal(self._by_vector.vector, vector):
            self._by_vector = VectorQuery(vector.copy())
        return self._by_vector

    def joint_query(self, question: Question) -> tuple[RowIds, NDArray[np.uint8], NDArray[np.float64]]:
        """Return row ids, modalities and scores of the living memories in the joint space."""
        if self._by_joint is None or not np.array_equal(self._by_joint[0], question):
            rows, sets, scores = self.joint.scores(question)
            living = self.passes(rows)
            self._by_joint = question.copy(), (rows[living], sets[living], scores[living])
        return self._by_joint[1]

    def forget_queries(self) -> None:
        """Forget what the last queries found, since it changes now."""
        self._by_words = self._by_vector = self._by_joint = None
        self._just_named.clear()


class Viewing:
    """What answers from a view that others bring up to date: under their lock."""

    _lock: threading.RLock
    _view: View
