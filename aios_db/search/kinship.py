"""What links of new memories are proposed from: near vectors, and labels and names in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.current import Seen
from aios_db.search.keywords import holding_any
from aios_db.search.labels import HAS_TITLE
from aios_db.search.part import Part
from aios_db.search.phrases import phrases


class Kinship:
    """Memories that have something in common."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

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
        view = self._seen.view
        neighbors, parts = view.neighbors, view.documents.parts
        row_ids, cosines = neighbors.find(parts, vectors, k, among)
        near = (row_ids >= 0) & (cosines >= least)
        return np.where(near, row_ids, -1), np.where(near, cosines, np.float32(0))

    def labelled(self, label: int, limit: int) -> RowIds:
        """Return the rows of the living memories with a label, ascending.

        An empty array where there are more than ``limit``: what so many have in common says nothing.
        """
        view = self._seen.view
        dead = sum(part.dead for part in view.documents.parts)
        if view.labels.length(label) - dead > limit:
            return np.empty(0, np.int64)
        rows = view.labels.rows(label)
        rows = rows[view.documents.passes(rows)]
        return rows if len(rows) <= limit else np.empty(0, np.int64)

    def label_rows(self, label: int) -> RowIds:
        """Return the rows, ascending, of memories with a label; deleted ones too, until the next segment."""
        return self._seen.view.labels.rows(label)

    def label_count(self, label: int) -> int:
        """Return how many rows `label_rows` returns, without making them."""
        return self._seen.view.labels.length(label)

    def present_labels(self, labels: Sequence[int]) -> list[int]:
        """Return those of the labels that any memory has."""
        return self._seen.view.labels.present(labels)

    def title_names(self, row_ids: RowIds) -> NDArray[np.uint64]:
        """Return the `labels.shared_name` of each memory's title, uint64, 0 without one."""
        return self._seen.view.documents.column("names", row_ids)

    def labelled_around(self, label: int, rows: RowIds, count: int, where: Filter) -> RowIds:
        """Return the rows of the memories with a label, from ``count`` before ``rows`` to ``count`` behind.

        Ascending; ``where`` leaves out memories that had the label before they were changed.
        """
        view = self._seen.view
        documents, found = view.documents, view.labels.rows(label)
        first, last = np.searchsorted(found, [rows.min(), rows.max() + 1])
        before = documents.first_passing(found[:first][::-1], count, where)[::-1]
        behind = documents.first_passing(found[last:], count, where)
        inside = found[first:last]
        return np.concatenate([before, inside[documents.passes(inside, where)], behind])

    def described(self, first: int, last: int, columns: Sequence[str]) -> tuple[RowIds, pa.RecordBatch]:
        """Return the living rows from ``first`` up to ``last``, which is left out, and columns of them."""
        view = self._seen.view
        rows = view.documents.living(np.arange(first, last))
        rows = rows[rows >= 0]
        return rows, view.stored.take(rows, columns)

    def holding_all(self, text: str, limit: int) -> RowIds:
        """Return the rows of the living memories that hold every word of ``text``, ascending.

        An empty array where there are more than ``limit``, and for a text without words.
        """
        found = [np.empty(0, np.int64)]
        view = self._seen.view
        words = view.analyzer.query(text, view.totals.present_languages)
        for part in view.documents.parts if words else ():
            lists = sorted((holding_any(part, word) for word in words), key=len)
            documents = lists[0]
            for other in lists[1:]:
                documents = documents[np.isin(documents, other, assume_unique=True)]
            documents = documents[part.alive[documents]]
            found.append(part.rows[documents])
        rows = np.sort(np.concatenate(found))
        return rows if len(rows) <= limit else np.empty(0, np.int64)

    def names(self, row: int, text: str) -> list[str]:
        """Return the `phrases` of a memory's text.

        Those of the memories that were written last are known, and ``text`` is not looked at.
        """
        known = self._seen.view.phrases.get(row)
        return phrases(text) if known is None else known

    @property
    def has_titles(self) -> bool:
        """Whether any memory has a title."""
        return self._seen.view.labels.length(HAS_TITLE) > 0
