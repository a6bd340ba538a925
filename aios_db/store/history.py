"""Earlier versions of the tables, searched as the newest one is.

Lance keeps each version until it is cleaned up. The state of a moment is the last version of each table that
was written by then; an index over it is built when it is first asked for, and the last one stays in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from aios_db.schema.changes import ChangeRecord
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.memories import TIMESTAMP, returned_schema
from aios_db.search.index import SearchIndex
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store.kept import KeptVersions, as_text, check_kept, kept

if TYPE_CHECKING:
    from lance import LanceDataset


class History:
    """What a database was at earlier times.

    Parameters
    ----------
    tables
        Returns the newest memories and links.
    new_index
        Returns an empty index that writes no file.
    changes
        Returns the log of changes.
    scope
        What is seen of the memories.
    """

    def __init__(
        self,
        tables: Callable[[], tuple[LanceDataset, LanceDataset]],
        new_index: Callable[[], SearchIndex],
        changes: Callable[[], Sequence[ChangeRecord]],
        scope: Scope = EVERYTHING,
    ) -> None:
        self._tables, self._new_index, self._changes, self._scope = tables, new_index, changes, scope
        self._lock = threading.Lock()
        self._last: tuple[tuple[int, int], SearchIndex] | None = None

    def versions(self) -> pa.Table:
        """Return ``version`` and ``written_at`` of what is kept of the memories, the oldest first."""
        memories, _ = self._tables()
        written = KeptVersions.of(memories).written
        times = pa.array(list(written.values()), pa.int64()).cast(TIMESTAMP)
        return pa.table({"version": pa.array(list(written), pa.int64()), "written_at": times})

    def memories(self, version: int | None, time: int | None) -> pa.Table:
        """Return all memories of a version, or of a moment: the columns of `returned_schema`.

        Raises
        ------
        ProgrammingError
            There never was such a version.
        OperationalError
            It is kept no longer.
        """
        memories, _ = self._tables()
        if version is None:
            version = memories.version if time is None else _version_at(memories, time)
        else:
            check_kept(memories, version)
        then = memories.checkout_version(version)
        return then.to_table(columns=returned_schema().names, filter=self._scope.condition)

    def tables(self, version: int | None, time: int | None) -> tuple[LanceDataset, LanceDataset]:
        """Return memories and links as they were in a version of the memories, or at a moment.

        The links of a version are those that were there when the next one was written: a call writes its
        memories first, and one that changes links alone writes no version of the memories.

        Raises
        ------
        ProgrammingError
            There never was such a version, or no database yet at that moment.
        OperationalError
            It is kept no longer, or the clock went back, so that there was such a moment more than once.
        """
        memories, links = self._tables()
        if version is not None:
            check_kept(memories, version)
            return memories.checkout_version(version), kept(links, self._links_of(version))
        if time is None:
            return memories, links
        _check_begun(memories, time)
        wanted = _version_at(memories, time), _version_at(links, time)
        return memories.checkout_version(wanted[0]), links.checkout_version(wanted[1])

    def _links_of(self, version: int) -> int:
        """Return the version of the links that was the newest when the next one of the memories was written.

        The log of changes says between which two it is, whatever the clock says. The clock says which of
        them, since what is no change, such as a compaction, is not in the log.
        """
        memories, links = self._tables()
        if version == memories.version:
            return links.version
        written = KeptVersions.of(links)
        first, last = _links_by_log(self._changes(), version)
        if first == last is not None:
            return last
        until = KeptVersions.of(memories).until(version)
        if first is None:
            return written.at(until)
        return written.among(first, links.version if last is None else last, until)

    def index(self, time: int) -> SearchIndex:
        """Return an index over what was known at a moment, in microseconds since 1970.

        Raises
        ------
        OperationalError
            The versions of that time are kept no longer.
        """
        memories, links = self._tables()
        wanted = _version_at(memories, time), _version_at(links, time)
        with self._lock:
            if self._last is None or self._last[0] != wanted:
                index = self._new_index()
                index.sync(memories.checkout_version(wanted[0]), links.checkout_version(wanted[1]))
                self._last = wanted, index
            return self._last[1]


def _links_by_log(changes: Sequence[ChangeRecord], version: int) -> tuple[int | None, int | None]:
    """Return the first and the last version that the links can have had, as far as changes say."""
    first = None
    for each in changes:
        if each.memories_after <= version:
            first = each.links_after
        elif each.memories_before < version:  # written within the change
            return each.links_before, each.links_after
        else:
            return first, each.links_before
    return first, None


def _check_begun(dataset: LanceDataset, time: int) -> None:
    written = KeptVersions.of(dataset).written
    first = written.get(1)
    if first is not None and time < min(written.values()):
        raise ProgrammingError(
            f"there was no database yet at {as_text(time)}: its first version was written at {as_text(first)}"
        )


def _version_at(dataset: LanceDataset, time: int) -> int:
    return KeptVersions.of(dataset).at(time)
