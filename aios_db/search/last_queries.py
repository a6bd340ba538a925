"""What is known of the last queries, handed from one SQL function of a `recall` to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search import kernels
from aios_db.search.analyzer import Analyzer
from aios_db.search.documents import Documents
from aios_db.search.joint import JointVectors, Question
from aios_db.search.part import Part
from aios_db.search.queries import JointQuery, KeywordQuery, VectorQuery

_FEW_NAMES = 1024


class LastQueries:
    """The words, the vector and the question in the joint space that a view was asked last.

    `recall` (udfs/sql/recall.sql) searches by each of them, has what it found scored by the others, and
    names it to the next step. The steps are functions that DuckDB calls one after the other, and nothing but
    SQL values goes from one to the next; so what the first made of a query is kept here, under the index's
    lock. It holds for one view: the next one begins without.
    """

    def __init__(self) -> None:
        self._words: KeywordQuery | None = None
        self._vector: VectorQuery | None = None
        self._joint: JointQuery | None = None
        self._names = kernels.names.Names()

    def words(self, text: str, analyzer: Analyzer, parts: Sequence[Part]) -> KeywordQuery:
        """Return the query of a text, as `KeywordQuery` takes it."""
        if self._words is None or self._words.text != text:
            self._words = KeywordQuery(text, analyzer, parts)
        return self._words

    def vector(self, vector: NDArray[np.float32]) -> VectorQuery:
        """Return the query of a vector: float32 ``(dimension,)``."""
        if self._vector is None or not np.array_equal(self._vector.vector, vector):
            self._vector = VectorQuery(vector.copy())
        return self._vector

    def joint(self, question: Question, vectors: JointVectors, documents: Documents) -> JointQuery:
        """Return the query of a question, as `JointQuery` takes it."""
        if self._joint is None or not np.array_equal(self._joint.question, question):
            self._joint = JointQuery(question.copy(), vectors, documents)
        return self._joint

    def note_names(self, memory_ids: pa.StringArray, row_ids: RowIds) -> None:
        """Remember the row ids of a few memory_ids, which the next step will look up."""
        if len(memory_ids) <= _FEW_NAMES:
            self._names.put(memory_ids, row_ids)

    def find_names(self, memory_ids: pa.StringArray) -> RowIds | None:
        """Return the row ids of memory_ids, whether they still live or not; None where one is not known."""
        if len(memory_ids) > _FEW_NAMES:
            return None
        rows = self._names.find(memory_ids)
        return rows if (rows >= 0).all() else None
