"""Keeping an index up with the Lance tables: by their deltas, and by a new segment now and then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from aios_db.schema.retrieval import RowIds
from aios_db.search.build import merge
from aios_db.search.current import Current
from aios_db.search.linkrun import Links
from aios_db.search.saved import SavedSegments
from aios_db.search.segment import Segment, Version
from aios_db.search.source import NOTHING, Appended
from aios_db.search.view import View
from aios_db.search.writer import Writer
from aios_db.security.scope import Scope

if TYPE_CHECKING:
    from lance import LanceDataset

logger = logging.getLogger("aios_db.search")

# Memories in the growing segment, each of some 5 kB; every new segment is a copy of all that went before.
_FEW_GROWING, _MANY_GROWING = 1024, 65536
_NOTHING = np.empty(0, np.int64)


class KeepingUp:
    """Makes the next view, of what changed in the tables or of a new segment, and publishes it.

    Parameters
    ----------
    current
        Where it is published.
    saved
        Where segments are read and written.
    scope
        Memories outside of it are left out, and links that lead out.
    """

    def __init__(self, current: Current, saved: SavedSegments, scope: Scope) -> None:
        self._current, self._saved, self._scope = current, saved, scope
        self._saving, self._writing = threading.Lock(), threading.Lock()
        self._tables: tuple[LanceDataset, LanceDataset] | None = None

    @property
    def needs_save(self) -> bool:
        """Whether enough changed since the segment was written to write a new one."""
        view = self._current.view
        saved = len(view.documents.segment)
        return view.changes > min(max(saved // 8, _FEW_GROWING), _MANY_GROWING)

    @property
    def needs_save_now(self) -> bool:
        """Whether so much changed that whoever writes in bulk should wait for a new segment.

        Every new segment is a copy of all that went before; so what grows may grow with it.
        """
        documents = self._current.view.documents
        saved = len(documents.segment)
        return len(documents.growing) > min(max(saved // 2, _MANY_GROWING), 2 * _MANY_GROWING)

    def sync(self, memories: LanceDataset, links: LanceDataset, appended: Appended = NOTHING) -> None:
        """Catch up with the tables; where that is broken off, the index stays as it was.

        Parameters
        ----------
        memories
            At the version that the index is to reflect.
        links
            Not newer than ``memories``: a link whose end is missing is skipped for good.
        appended
            Rows that the caller has just written, which need not be read.
        """
        with self._writing:
            version, own = Version(memories.version, links.version), self._current.view.version
            if version == own:
                return
            segment = None
            if version.memories < own.memories or version.links < own.links:
                logger.warning("tables older than the search index, reading them again")
                segment = Segment.empty(self._saved.dimension)
            elif self.needs_save:  # another process may have saved one
                segment = self._saved.newer(self._current.view.documents.segment, version, memories)
            self._tables = memories, links
            self._catch_up(segment, appended)

    def save(self) -> None:
        """Merge everything into a new segment, write it and use it; searches and `sync` go on meanwhile."""
        with self._saving:
            segment = self._saved.keep(merge(self._current.view.state()))
            with self._writing:
                self._catch_up(segment)

    # What would be: of an index that follows no table any more

    def suppose(self, rows: Iterable[pa.RecordBatch], gone: RowIds = _NOTHING) -> None:
        """Put rows and take others out, as if a table had.

        Parameters
        ----------
        rows
            With `source.MEMORY_COLUMNS` and ``_rowid``.
        gone
            int64 row ids of the others, all of which are there.
        """
        with self._writing:
            writer = Writer(self._current.view, self._scope)
            self._current.publish(writer.suppose(rows, gone), writer.changes, anew=False)

    def suppose_links(self, links: Links) -> None:
        """Put links, as if the table had them."""
        with self._writing:
            writer = Writer(self._current.view, self._scope)
            self._current.publish(writer.suppose_links(links), writer.changes, anew=False)

    def _catch_up(self, segment: Segment | None, appended: Appended = NOTHING) -> None:
        """Publish the view of the tables that were seen last: over the segment that is used, or another."""
        view = self._current.view
        if segment is not None:
            view = View.of(segment, view.analyzer)
        writer = Writer(view, self._scope)
        if self._tables is not None:
            view = writer.catch_up(*self._tables, appended)
        self._current.publish(view, writer.changes, anew=segment is not None)
