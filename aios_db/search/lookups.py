"""Memories looked up by what names them, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.current import Seen
from aios_db.search.keys import Keys, digests_of, heads
from aios_db.search.linkrun import Links
from aios_db.search.marks import ORIGINS, origin_keys
from aios_db.search.ranking import digest64


class Lookups:
    """Rows by their keys, and columns by row.

    Parameters
    ----------
    seen
        What is looked up in.
    with_counts
        Returns a batch of `returned_schema` with the recalls added, which are counted elsewhere.
    """

    def __init__(self, seen: Seen, with_counts: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
        self._seen, self._with_counts = seen, with_counts

    def find_ids(self, memory_ids: Keys) -> RowIds:
        """Return the row id of each memory_id, or -1."""
        return self._seen.view.find_ids(memory_ids)

    def find_digests(self, digests: NDArray[np.bytes_]) -> RowIds:
        """Return the row id of each memory named by the digest of its memory_id, or -1; see `digests_of`."""
        view = self._seen.view
        return view.documents.living(view.ids.find_digests(digests))

    def find_content(self, hashes: Keys) -> RowIds:
        """Return the row id of a memory with each content hash, or -1."""
        view = self._seen.view
        rows = view.documents.living(view.hashes.find(hashes))
        same = view.documents.column("hashes", rows) == heads(digests_of(hashes))  # else it has changed
        return np.where(same, rows, -1)

    def find_other(self, keys: Keys) -> RowIds:
        """Return the row id of the memory last put with each of the `other_keys`, or -1.

        A memory that was changed is still found under the keys it had.
        """
        view = self._seen.view
        return view.documents.living(view.others.find(keys))

    def memory_ids(self, row_ids: RowIds) -> pa.StringArray:
        """Return the memory_id of each row id."""
        view = self._seen.view
        names = view.documents.column("ids", row_ids)
        width = names.dtype.itemsize
        if names.view(np.uint8)[width - 1 :: width].all():  # none is shorter
            offsets = np.arange(0, width * (len(names) + 1), width, dtype=np.int32)
            found = pa.StringArray.from_buffers(len(names), pa.py_buffer(offsets), pa.py_buffer(names))
        else:
            found = pa.array([name.decode() for name in names.tolist()], pa.string())
        view.last.note_names(found, row_ids)
        return found

    def times(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return when each memory happened, or was stored: microseconds since 1970."""
        return self._column("times", row_ids)

    def ends(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return until when each memory holds: microseconds since 1970, `FOREVER` where nothing ends it."""
        return self._column("ends", row_ids)

    def has(self, row_ids: RowIds, column: str, value: str) -> NDArray[np.bool_]:
        """Tell which memories have a value in a column that filters compare, one of `part.HASHED`."""
        found: NDArray[np.bool_] = self._column(column, row_ids) == np.uint64(digest64(value))
        return found

    def made_of(self, memory_ids: Sequence[str]) -> tuple[RowIds, list[list[str]]]:
        """Return the memories whose ``derived_from`` names any of some memories.

        No scan: the cost grows with how many are found.

        Parameters
        ----------
        memory_ids
            What they were made of; these need not be stored any more.

        Returns
        -------
        row_ids, derived_from
            int64, ascending, and of each row all memory_ids that it was made of.
        """
        keys, wanted = origin_keys(memory_ids), set(memory_ids)
        view = self._seen.view
        found = [part.rows[part.holders(keys)] for part in view.documents.parts]
        rows = np.sort(np.concatenate(found))
        origins = view.stored.take(rows, [ORIGINS]).column(0).to_pylist()
        made = [not wanted.isdisjoint(each or ()) for each in origins]  # two keys may be the same by chance
        return rows[made], [each for each, is_made in zip(origins, made, strict=True) if is_made]

    def memories(self, memory_ids: Keys) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        """Return which memories are there, and of those the columns of `returned_schema`, in their order."""
        view, stand = self._seen.looked()
        rows = view.find_ids(memory_ids)
        known = rows >= 0
        rows = rows[known]
        return known, stand.shown(self._with_counts(view.stored.take(rows)), rows)

    def users(self, row_ids: RowIds) -> NDArray[np.uint64]:
        """Return the key of the user of each memory, uint64, 0 where it has none."""
        return self.owners(row_ids, "user_id")

    def owners(self, row_ids: RowIds, column: str) -> NDArray[np.uint64]:
        """Return the key (`digest64`) of each memory's user, agent or source, uint64, 0 where it has none.

        Parameters
        ----------
        row_ids
            The memories.
        column
            ``user_id``, ``agent_id`` or ``source``.
        """
        return self._column(column, row_ids)

    def has_others(self, user: int) -> bool:
        """Tell whether there are memories of another user than the one with this key, 0 for nobody."""
        columns = (part.columns["user_id"] for part in self._seen.view.documents.parts)
        return any(bool(((each != 0) & (each != user)).any()) for each in columns)

    def rows(self) -> RowIds:
        """Return the row ids of all memories."""
        return self._seen.view.documents.all_rows()

    def living(self, row_ids: RowIds) -> NDArray[np.bool_]:
        """Tell which rows are those of memories that the index has, bool in their order."""
        return self._seen.view.documents.passes(row_ids)

    def links(self) -> Links:
        """Return all links, by their row ids and those of their ends."""
        return self._seen.view.graph.links()

    def _column(self, name: str, row_ids: RowIds) -> NDArray[Any]:
        return self._seen.view.documents.column(name, row_ids)
