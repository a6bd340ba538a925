"""Earlier versions of the tables, searched as the newest one is.

Lance keeps each version until it is cleaned up. The state of a moment is the last version of each table that
was written by then; an index over it is built when it is first asked for, and the last one stays in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pyarrow as pa

from aios_db.schema.errors import ProgrammingError
from aios_db.schema.memories import TIMESTAMP, returned_schema
from aios_db.search.index import SearchIndex
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store.kept import KeptVersions, as_text, check_kept

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
    scope
        What is seen of the memories.
    """

    def __init__(
        self,
        tables: Callable[[], tuple[LanceDataset, LanceDataset]],
        new_index: Callable[[], SearchIndex],
        scope: Scope = EVERYTHING,
    ) -> None:
        self._tables, self._new_index, self._scope = tables, new_index, scope
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
            version = _version_at(memories, _now() if time is None else time)
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
            It is kept no longer.
        """
        memories, links = self._tables()
        if version is None:
            moment = _now() if time is None else time
            _check_begun(memories, moment)
            version = _version_at(memories, moment)
        else:
            check_kept(memories, version)
            last = KeptVersions.of(memories).until(version)
            moment = _now() if last is None else last
        return memories.checkout_version(version), links.checkout_version(_version_at(links, moment))

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


def _check_begun(dataset: LanceDataset, time: int) -> None:
    first = KeptVersions.of(dataset).written.get(1)
    if first is not None and time < first:
        raise ProgrammingError(
            f"there was no database yet at {as_text(time)}: its first version was written at {as_text(first)}"
        )


def _version_at(dataset: LanceDataset, time: int) -> int:
    return KeptVersions.of(dataset).at(time)


def _now() -> int:
    return round(datetime.now(timezone.utc).timestamp() * 1e6)
