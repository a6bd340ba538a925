"""What of an index a new memory may be linked with: its user's or nobody's, and trusted as much or more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.answers import Answers
from aios_db.search.part import Part

_MOST = 1 << 16  # memories that share a label; what more have is a common word for everybody


class Linkable(Protocol):
    """What proposals of links are made from."""

    @property
    def has_titles(self) -> bool:
        """Whether any memory has a title."""
        ...

    def present_labels(self, labels: Sequence[int]) -> list[int]:
        """Return those of the labels that any memory has."""
        ...

    def title_names(self, row_ids: RowIds) -> NDArray[np.uint64]:
        """Return what the titles of one name have in common, 0 without a title."""
        ...

    def names(self, row: int, text: str) -> list[str]:
        """Return the names in a memory's text."""
        ...

    def labelled(self, label: int, limit: int) -> RowIds:
        """Return the rows with a label; none when more than ``limit``."""
        ...

    def label_count(self, label: int) -> int:
        """Return how many memories have a label."""
        ...

    def labelled_around(self, label: int, rows: RowIds, count: int, where: Filter) -> RowIds:
        """Return the rows with a label from before ``rows`` to behind."""
        ...

    def holding_all(self, text: str, limit: int) -> RowIds:
        """Return the rows that hold every word; none when more than ``limit``."""
        ...

    def described(self, first: int, last: int, columns: Sequence[str]) -> tuple[RowIds, pa.RecordBatch]:
        """Return the rows from ``first`` to before ``last``, ascending, and columns that searches return."""
        ...

    def nearest(
        self, vectors: NDArray[np.float32], k: int, least: float = -1.0
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the nearest memories of each vector."""
        ...


class Visible:
    """The memories of one user and of nobody that are trusted enough; methods as those of `Kinship`.

    Parameters
    ----------
    index
        It knows the memories of all users.
    user
        The user's key, as in the index; 0 for memories without one, which are linked with such only.
    trust
        The lowest class of trust, a place among those of `levels`.
    """

    def __init__(self, index: Answers, user: int, trust: int) -> None:
        self._index, self._user, self._trust = index, user, trust
        self._kinship = kinship = index.kinship
        self.has_titles = kinship.has_titles
        self.present_labels, self.title_names = kinship.present_labels, kinship.title_names
        self.names = kinship.names

    def labelled(self, label: int, limit: int) -> RowIds:
        """Return the rows of the memories with a label, ascending; none when more than ``limit``."""
        return self._few(self._kinship.labelled(label, _MOST), limit)

    def label_count(self, label: int) -> int:
        """Return how many memories have a label, deleted ones among them."""
        return len(self._seen(self._kinship.label_rows(label)))

    def labelled_around(self, label: int, rows: RowIds, count: int, where: Filter) -> RowIds:
        """Return the rows with a label, from ``count`` before ``rows`` to ``count`` behind."""
        within = self._index.seen_from(where, self._trust)
        return self._kinship.labelled_around(label, rows, count, within)

    def holding_all(self, text: str, limit: int) -> RowIds:
        """Return the rows of the memories that hold every word; none when more than ``limit``."""
        return self._few(self._kinship.holding_all(text, _MOST), limit)

    def described(self, first: int, last: int, columns: Sequence[str]) -> tuple[RowIds, pa.RecordBatch]:
        """Return the rows from ``first`` to before ``last``, ascending, and columns that searches return."""
        rows, told = self._kinship.described(first, last, columns)
        seen = self._is_seen(self._index.users(rows), rows)
        return rows[seen], told.filter(pa.array(seen))

    def nearest(
        self, vectors: NDArray[np.float32], k: int, least: float = -1.0
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ``k`` nearest memories of each vector."""

        def among(part: Part) -> NDArray[np.bool_]:
            return self._is_seen(part.columns["user_id"], part.rows)

        return self._kinship.nearest(vectors, k, least, among)

    def _few(self, rows: RowIds, limit: int) -> RowIds:
        rows = self._seen(rows)
        return rows if len(rows) <= limit else rows[:0]

    def _seen(self, rows: RowIds) -> RowIds:
        return rows[self._is_seen(self._index.users(rows), rows)]

    def _is_seen(self, users: NDArray[np.uint64], rows: RowIds) -> NDArray[np.bool_]:
        seen: NDArray[np.bool_] = (users == 0) | (users == self._user)
        return seen & (self._index.classes(rows) <= self._trust)
