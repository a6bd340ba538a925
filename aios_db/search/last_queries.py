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
    SQL values goes from one to the next; so what the first made of a query is kept here. It holds for one
    view: the next one begins without. Threads that ask at once may each make what another has just made.
    """

    def __init__(self) -> None:
        self._words: KeywordQuery | None = None
        self._vector: VectorQuery | None = None
        self._joint: JointQuery | None = None
        self._names: kernels.names.Names | None = None

    def words(self, text: str, analyzer: Analyzer, parts: Sequence[Part]) -> KeywordQuery:
        """Return the query of a text, as `KeywordQuery` takes it."""
        query = self._words
        if query is None or query.text != text:
            query = self._words = KeywordQuery(text, analyzer, parts)
        return query

    def vector(self, vector: NDArray[np.float32]) -> VectorQuery:
        """Return the query of a vector: float32 ``(dimension,)``."""
        query = self._vector
        if query is None or not np.array_equal(query.vector, vector):
            query = self._vector = VectorQuery(vector.copy())
        return query

    def joint(self, question: Question, vectors: JointVectors, documents: Documents) -> JointQuery:
        """Return the query of a question, as `JointQuery` takes it."""
        query = self._joint
        if query is None or not np.array_equal(query.question, question):
            query = self._joint = JointQuery(question.copy(), vectors, documents)
        return query

    def note_names(self, memory_ids: pa.StringArray, row_ids: RowIds) -> None:
        """Remember the row ids of a few memory_ids, which the next step will look up."""
        if len(memory_ids) <= _FEW_NAMES:
            names = self._names = self._names or kernels.names.Names()
            names.put(memory_ids, row_ids)

    def find_names(self, memory_ids: pa.StringArray) -> RowIds | None:
        """Return the row ids of memory_ids, whether they still live or not; None where one is not known."""
        names = self._names
        if names is None or len(memory_ids) > _FEW_NAMES:
            return None
        rows = names.find(memory_ids)
        return rows if (rows >= 0).all() else None
