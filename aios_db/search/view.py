"""What an index holds at one version of the tables: a mapped segment, a growing one, links and statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.analyzer import Analyzer
from aios_db.search.build import State
from aios_db.search.documents import Documents
from aios_db.search.graph import LinkGraph
from aios_db.search.growing import GrowingSegment
from aios_db.search.joint import JointArrays, JointVectors, Question
from aios_db.search.keys import Keys, KeyTable
from aios_db.search.labels import Labels
from aios_db.search.last_queries import LastQueries
from aios_db.search.levels import Level
from aios_db.search.nearest import Neighbors
from aios_db.search.postings import Triples
from aios_db.search.queries import JointQuery, KeywordQuery, VectorQuery
from aios_db.search.segment import Segment, Version
from aios_db.search.standing import Standing
from aios_db.search.stored_rows import StoredRows
from aios_db.search.totals import Totals


@dataclass(frozen=True, eq=False)
class View:
    """One state of the index, read under its lock; a `Writer` makes the next.

    No attribute is set again. But what is called shared below belongs to all views over one segment, and
    changes in place as memories are written. So whoever reads takes the current view and holds the lock until
    the answer is there; no view is kept.

    Attributes
    ----------
    analyzer
        Makes the terms of queries.
    documents
        The segment and what came since. Shared: it grows, memories in it die and get other attributes.
    ids, hashes, others
        Row ids by memory_id, content hash and `contents.other_keys`. Shared: they grow.
    labels, graph, neighbors
        What memories have in common, their links, and lists of near ones. Shared: they grow and change.
    stored, joint
        The columns that searches return, and vectors of the joint space. Shared: rows are put.
    totals, standing
        What scores are relative to, and what is trusted. Shared: counted up and down.
    version
        Of the tables.
    phrases
        `phrases` of the memories that were written last, by row id.
    last
        What this view was asked last.
    """

    analyzer: Analyzer
    documents: Documents
    ids: KeyTable
    hashes: KeyTable
    others: KeyTable
    labels: Labels
    graph: LinkGraph
    neighbors: Neighbors
    stored: StoredRows
    joint: JointVectors
    totals: Totals
    standing: Standing
    version: Version
    phrases: Mapping[int, list[str]] = field(default_factory=dict)
    last: LastQueries = field(default_factory=LastQueries)

    @classmethod
    def of(cls, segment: Segment, analyzer: Analyzer, standing: Standing) -> View:
        """Return the view of a segment, to which nothing was added yet; ``standing`` reads its rows."""
        dimension = segment.vectors.shape[1]
        documents = Documents(segment, GrowingSegment(dimension))
        ids, stored = segment.ids, segment.stored_rows()
        standing.reads(stored.take, lambda memory_ids: documents.living(ids.find(memory_ids)), dimension)
        return cls(
            analyzer,
            documents,
            ids,
            segment.hashes,
            segment.others,
            Labels(segment.labels),
            segment.graph(),
            Neighbors(segment),
            stored,
            JointVectors(segment.joint()),
            segment.totals(),
            standing,
            segment.version,
        )

    def unasked(self) -> View:
        """Return a view of the same that was asked nothing yet."""
        return replace(self, last=LastQueries())

    def __len__(self) -> int:
        return self.totals.documents

    @property
    def changes(self) -> int:
        """How much came since the segment, in memories to be merged with it."""
        documents = self.documents
        changed = self.graph.recent // 32 + self.stored.recent // 8 + documents.segment.dead
        return len(documents.growing) + changed

    def state(self) -> State:
        """Return what there is now, to be merged while this goes on."""
        segment, growing = self.documents.segment, self.documents.growing
        return State(
            segment,
            segment.alive.copy(),
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
        return arrays.of((arrays.sets > 0) & self.documents.passes(arrays.rows))

    def find_ids(self, memory_ids: Keys) -> RowIds:
        """Return the row id of each memory_id, or -1."""
        rows = self.last.find_names(memory_ids) if isinstance(memory_ids, pa.Array) else None
        return self.documents.living(self.ids.find(memory_ids) if rows is None else rows)

    # Queries

    def keyword_query(self, text: str) -> KeywordQuery:
        """Return what is known of a text here."""
        return self.last.words(text, self.analyzer, self.documents.parts)

    def vector_query(self, vector: NDArray[np.float32]) -> VectorQuery:
        """Return what is known of a vector here."""
        return self.last.vector(vector)

    def joint_query(self, question: Question) -> JointQuery:
        """Return what is known of a question in the joint space here."""
        return self.last.joint(question, self.joint, self.documents)

    def look(self) -> Standing:
        """Return how memories stand, once what has changed or expired is looked at."""
        self.standing.look(self.documents.parts)
        return self.standing

    def levels(self) -> Sequence[Level]:
        """Return the classes of trust that there are, the most trusted first."""
        return self.look().levels(self.documents.parts, self.totals)

    def resolved(self, where: Filter | None, level: Level | None = None) -> Filter | None:
        """Return a filter as the parts take it: None where it restricts nothing, memories by row id.

        What is held is left out, and with a level what is of another class of trust.
        """
        where = self.standing.restrict(where, level)
        if not where:
            return None
        within = where.values.get("within")
        return where if within is None else where.replaced(within=self.find_ids(within))
