"""What the searching functions ask of the store: its search index, as it is and as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, Hits, RowIds


class Pinned(Protocol):
    """What retrieval asks of the search index, or of one view of it."""

    def vector_search(
        self, vector: NDArray[np.float32], k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the nearest memories, of all or of each class of trust."""
        ...

    def keyword_search(
        self, text: str, k: int, where: Filter | None = None, *, by_trust: bool = False
    ) -> Hits:
        """Return the memories with the highest BM25 scores, of all or of each class of trust."""
        ...

    def vector_scores(self, vector: NDArray[np.float32], row_ids: RowIds) -> Hits:
        """Return the cosines of given memories."""
        ...

    def keyword_scores(self, text: str, row_ids: RowIds) -> Hits:
        """Return the BM25 scores of given memories."""
        ...

    def spread(
        self,
        row_ids: RowIds,
        scores: NDArray[np.float64],
        hops: int,
        where: Filter | None = None,
        most: int | None = None,
    ) -> tuple[RowIds, NDArray[np.float64], RowIds]:
        """Let scores flow over the links."""
        ...

    def neighbors(self, row_id: int, hops: int) -> tuple[RowIds, RowIds]:
        """Return the memories some links away."""
        ...

    def find_ids(self, memory_ids: Sequence[str] | pa.StringArray) -> RowIds:
        """Return row ids, -1 for unknown."""
        ...

    def trust(self, row_ids: RowIds) -> NDArray[np.float32]:
        """Return the trust in memories."""
        ...

    def memory_ids(self, row_ids: RowIds) -> pa.StringArray:
        """Return memory_ids."""
        ...

    def times(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return when the memories happened."""
        ...

    def ends(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return until when the memories hold."""
        ...

    def has(self, row_ids: RowIds, column: str, value: str) -> NDArray[np.bool_]:
        """Return which memories have a value in a column."""
        ...

    def memories(
        self, memory_ids: Sequence[str] | pa.StringArray
    ) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        """Return which memories are there, and of those the columns of `returned_schema`."""
        ...


class Index(Pinned, Protocol):
    """The search index."""

    def pinned(self) -> Pinned:
        """Return what answers from one view, whatever is written meanwhile."""
        ...


class History(Protocol):
    """Earlier versions of a store."""

    def versions(self) -> pa.Table:
        """Return the versions that are kept."""
        ...

    def memories(self, version: int | None, time: int | None) -> pa.Table:
        """Return the memories of a version or of a moment."""
        ...

    def index(self, time: int) -> Index:
        """Return an index over what was known at a moment."""
        ...


class Searchable(Protocol):
    """A store with a search index."""

    @property
    def index(self) -> Index:
        """The index over the current snapshot."""
        ...

    @property
    def history(self) -> History:
        """Earlier versions."""
        ...

    def require(self, table: str) -> None:
        """Raise where a table cannot be read."""
        ...

    def touch(self, memory_ids: Sequence[str]) -> None:
        """Note that memories were recalled together."""
        ...

    def asked(self, text: str, where: str, found: Sequence[str]) -> None:
        """Note a question, its filter and what it found."""
        ...

    def searched(self, called: float, items: int, text: str) -> None:
        """Record a search; ``called`` is when this function was, as `time.perf_counter` says it."""
        ...
