"""Memories looked up by what names them, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.keys import Keys, digests_of, heads
from aios_db.search.linkrun import Links
from aios_db.search.marks import ORIGINS, origin_keys
from aios_db.search.ranking import digest64
from aios_db.search.view import Viewing


class Lookups(Viewing):
    """Rows by their keys, and columns by row."""

    with_counts: Callable[[pa.RecordBatch], pa.RecordBatch]
    """Adds to the rows of `memories` what is counted elsewhere."""

    def find_ids(self, memory_ids: Keys) -> RowIds:
        """Return the row id of each memory_id, or -1."""
        with self._lock:
            return self._view.find_ids(memory_ids)

    def find_digests(self, digests: NDArray[np.bytes_]) -> RowIds:
        """Return the row id of each memory named by the digest of its memory_id, or -1; see `digests_of`."""
        with self._lock:
            return self._view.living(self._view.ids.find_digests(digests))

    def find_content(self, hashes: Keys) -> RowIds:
        """Return the row id of a memory with each content hash, or -1."""
        with self._lock:
            rows = self._view.living(self._view.hashes.find(hashes))
            same = self._view.column("hashes", rows) == heads(digests_of(hashes))  # else it has changed since
            return np.where(same, rows, -1)

    def find_other(self, keys: Keys) -> RowIds:
        """Return the row id of the memory last put with each of the `other_keys`, or -1.

        A memory that was changed is still found under the keys it had.
        """
        with self._lock:
            return self._view.living(self._view.others.find(keys))

    def memory_ids(self, row_ids: RowIds) -> pa.StringArray:
        """Return the memory_id of each row id."""
        with self._lock:
            names = self._view.column("ids", row_ids)
        width = names.dtype.itemsize
        if names.view(np.uint8)[width - 1 :: width].all():  # none is shorter
            offsets = np.arange(0, width * (len(names) + 1), width, dtype=np.int32)
            found = pa.StringArray.from_buffers(len(names), pa.py_buffer(offsets), pa.py_buffer(names))
        else:
            found = pa.array([name.decode() for name in names.tolist()], pa.string())
        with self._lock:
            self._view.note_names(found, row_ids)
        return found

    def times(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return when each memory happened, or was stored: microseconds since 1970."""
        with self._lock:
            return self._view.column("times", row_ids)

    def ends(self, row_ids: RowIds) -> NDArray[np.int64]:
        """Return until when each memory holds: microseconds since 1970, `FOREVER` where nothing ends it."""
        with self._lock:
            return self._view.column("ends", row_ids)

    def has(self, row_ids: RowIds, column: str, value: str) -> NDArray[np.bool_]:
        """Tell which memories have this value in a column that filters compare."""
        with self._lock:
            found: NDArray[np.bool_] = self._view.column(column, row_ids) == np.uint64(digest64(value))
        return found

    def made_of(self, memory_ids: Sequence[str]) -> tuple[RowIds, list[list[str]]]:
        """Return the rows, ascending, of memories that were made of any of some, and what each was made of.

        At a cost that follows these. What they were made of need not be there.
        """
        keys, wanted = origin_keys(memory_ids), set(memory_ids)
        with self._lock:
            parts = self._view.parts
            rows = np.sort(np.concatenate([part.rows[part.holders(keys)] for part in parts]))
            origins = self._view.stored.take(rows, [ORIGINS]).column(0).to_pylist()
        made = [not wanted.isdisjoint(each or ()) for each in origins]  # two keys may be the same by chance
        return rows[made], [each for each, is_made in zip(origins, made, strict=True) if is_made]

    def memories(self, memory_ids: Keys) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        """Return which memories are there, and of those the columns of `returned_schema`, in their order."""
        with self._lock:
            view, standing = self._view, self._view.standing
            rows = view.find_ids(memory_ids)
            known = rows >= 0
            standing.look(view.parts)
            rows = rows[known]
            return known, standing.shown(self.with_counts(view.stored.take(rows)), rows)

    def trust(self, row_ids: RowIds) -> NDArray[np.float32]:
        """Return the trust in each memory, as it is now, 1 for unknown ones."""
        with self._lock:
            view, standing = self._view, self._view.standing
            standing.look(view.parts)
            return np.where(view.passes(row_ids), standing.trust(row_ids), np.float32(1))

    def held(self) -> dict[str, str]:
        """Return the memory_ids of what is held in quarantine, with the reason, in the order of storing."""
        with self._lock:
            self._view.standing.look(self._view.parts)
            reasons = dict(self._view.standing.held())
            rows = np.sort(np.fromiter(reasons, np.int64))
            rows = rows[self._view.passes(rows)]
            return {
                name: reasons[row]
                for name, row in zip(self.memory_ids(rows).to_pylist(), rows.tolist(), strict=True)
            }

    def users(self, row_ids: RowIds) -> NDArray[np.uint64]:
        """Return a key of the user of each memory, 0 where it has none."""
        return self.owners(row_ids, "user_id")

    def owners(self, row_ids: RowIds, column: str) -> NDArray[np.uint64]:
        """Return a key of the ``user_id`` or ``agent_id`` of each memory, 0 where it has none."""
        with self._lock:
            return self._view.column(column, row_ids)

    def has_others(self, user: int) -> bool:
        """Tell whether there are memories of another user than the one with a key."""
        with self._lock:
            columns = (part.columns["user_id"] for part in self._view.parts)
            return any(bool(((each != 0) & (each != user)).any()) for each in columns)

    def living(self, row_ids: RowIds) -> NDArray[np.bool_]:
        """Tell of which rows the index has a memory."""
        with self._lock:
            return self._view.passes(row_ids)

    @property
    def link_count(self) -> int:
        """How many links the index has."""
        with self._lock:
            return len(self._view.graph.links().rows)

    def links(self) -> Links:
        """Return all links, by their row ids and those of their ends."""
        with self._lock:
            return self._view.graph.links()
