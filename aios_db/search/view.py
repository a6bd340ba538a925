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
from aios_db.search.nearest import Neighbors
from aios_db.search.part import Part
from aios_db.search.postings import Triples
from aios_db.search.queries import JointQuery, KeywordQuery, VectorQuery
from aios_db.search.segment import Segment, Version
from aios_db.search.stored_rows import StoredRows
from aios_db.search.totals import Totals


@dataclass(frozen=True, eq=False)
class View:
    """One state of the index, which does not change: whoever has it is answered alike as long as they like.

    A `Writer` makes the next one. What is large in it is shared by both, where it stays as it is; what grows
    is longer in the next.

    Attributes
    ----------
    analyzer
        Makes the terms of queries.
    documents
        The segment and what came since.
    ids, hashes, others
        Row ids by memory_id, content hash and `contents.other_keys`.
    labels, graph
        What memories have in common, and their links.
    stored, joint
        The columns that searches return, and vectors of the joint space.
    totals
        What scores are relative to.
    neighbors
        Lists of near vectors, which who writes makes and keeps.
    version
        Of the tables.
    phrases
        `phrases` of the memories that were written last, by row id.
    last
        What this view was asked last: it is remembered, and changes no answer.
    """

    analyzer: Analyzer
    documents: Documents
    ids: KeyTable
    hashes: KeyTable
    others: KeyTable
    labels: Labels
    graph: LinkGraph
    stored: StoredRows
    joint: JointVectors
    totals: Totals
    neighbors: Neighbors
    version: Version
    phrases: Mapping[int, list[str]] = field(default_factory=dict)
    last: LastQueries = field(default_factory=LastQueries)

    @classmethod
    def of(cls, segment: Segment, analyzer: Analyzer) -> View:
        """Return the view of a segment, to which nothing was added yet."""
        return cls(
            analyzer,
            Documents(segment, GrowingSegment(segment.vectors.shape[1], len(segment.arrays["positions"]))),
            segment.ids,
            segment.hashes,
            segment.others,
            Labels(segment.labels),
            segment.graph(),
            segment.stored_rows(),
            JointVectors(segment.joint()),
            segment.totals(),
            Neighbors(segment),
            segment.version,
        )

    def with_other_memories(self) -> View:
        """Return a view to which memories can be added, or taken out, before others see it."""
        return replace(
            self,
            documents=self.documents.copy(),
            ids=self.ids.copy(),
            hashes=self.hashes.copy(),
            others=self.others.copy(),
            labels=self.labels.copy(),
            graph=self.graph.copy(),
            stored=self.stored.copy(),
            joint=self.joint.copy(),
            totals=self.totals.copy(),
            phrases={},
            last=LastQueries(),
        )

    def with_other_links(self) -> View:
        """Return a view of which the links can be changed, before others see it."""
        return replace(self, graph=self.graph.copy(), last=LastQueries())

    def __len__(self) -> int:
        return self.totals.documents

    @property
    def changes(self) -> int:
        """How much came since the segment, in memories to be merged with it."""
        documents = self.documents
        changed = self.graph.recent // 32 + self.stored.recent // 8 + documents.segment.dead
        return len(documents.growing) + changed

    def state(self) -> State:
        """Return what there is, to be merged."""
        segment, growing = self.documents.segment, self.documents.growing
        return State(
            segment,
            growing.columns,
            Triples(*growing.terms.triples()),
            Triples(*self.labels.recent.triples()),
            self.labels.lost,
            {"id": self.ids, "hash": self.hashes, "other": self.others},
            self.graph.links(),
            self.totals.vectors,
            self.stored,
            self._living_joint(),
            self.version,
        )

    def _living_joint(self) -> JointArrays:
        arrays = self.joint.arrays()
        return arrays.of((arrays.sets > 0) & self.documents.passes(arrays.rows))

    def find_ids(self, memory_ids: Keys) -> RowIds:
        """Return the row id of each memory_id, or -1."""
        rows = self.last.find_names(memory_ids) if isinstance(memory_ids, pa.Array) else None
        return self.look_up(memory_ids) if rows is None else self.documents.living(rows)

    def look_up(self, memory_ids: Keys) -> RowIds:
        """Return what `find_ids` returns, whatever was asked last."""
        return self.documents.living(self.ids.find(memory_ids))

    def take(self, row_ids: RowIds, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return rows, as `StoredRows.take` does."""
        return self.stored.take(row_ids, columns)

    @property
    def parts(self) -> Sequence[Part]:
        """The segment and what came since."""
        return self.documents.parts

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

    def by_row(self, where: Filter | None) -> Filter | None:
        """Return a filter as the parts take it: None where it restricts nothing, memories by row id."""
        if not where:
            return None
        within = where.values.get("within")
        return where if within is None else where.replaced(within=self.find_ids(within))
