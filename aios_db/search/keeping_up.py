"""Keeping an index up with the Lance tables: by their deltas, and by a new segment now and then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
_FEW_GROWING, _MANY_GROWING = 2048, 65536
_NOTHING = np.empty(0, np.int64)


class KeepingUp:
    """Makes the next view, of what changed in the tables or of a new segment, and makes it the current one.

    Parameters
    ----------
    current
        Whose view is replaced.
    saved
        Where segments are read and written.
    scope
        Memories outside of it are left out, and links that lead out.
    """

    def __init__(self, current: Current, saved: SavedSegments, scope: Scope) -> None:
        self._current, self._saved, self._scope = current, saved, scope
        self._saving = threading.Lock()
        self._tables: tuple[LanceDataset, LanceDataset] | None = None
        self._whole = True

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
        """Catch up with the tables.

        Parameters
        ----------
        memories
            At the version that the index is to reflect.
        links
            Not newer than ``memories``: a link whose end is missing is skipped for good.
        appended
            Rows that the caller has just written, which need not be read.
        """
        with self._current.lock:
            if not self._whole:
                logger.warning("a change of the search index was broken off, reading what changed again")
                with self._changing():
                    self._use(self._saved.newest())
            version, own = Version(memories.version, links.version), self._current.view.version
            if version == own:
                return
            if version.memories < own.memories or version.links < own.links:
                logger.warning("tables older than the search index, reading them again")
                with self._changing():
                    self._use(Segment.empty(self._saved.dimension))
            elif self.needs_save:
                self._use_newer()  # another process may have saved one
            self._catch_up(memories, links, appended)

    def save(self) -> None:
        """Merge everything into a new segment, write it and use it; searches and `sync` go on meanwhile."""
        with self._saving:
            with self._current.lock:
                if not self._whole:
                    return  # `sync` comes first
                state = self._current.view.state()
            segment = self._saved.keep(merge(state))
            with self._current.lock:
                with self._changing():
                    self._use(segment)
                if self._tables is not None:
                    self._catch_up(*self._tables)

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
        with self._current.lock, self._changing() as view:
            self._current.view = Writer(view, self._scope).suppose(rows, gone)

    def suppose_links(self, links: Links) -> None:
        """Put links, as if the table had them."""
        with self._current.lock, self._changing() as view:
            view.graph.put(links)

    # Inside

    def _use(self, segment: Segment) -> None:
        view = self._current.view
        self._current.view = View.of(segment, view.analyzer, view.standing)

    @contextmanager
    def _changing(self) -> Iterator[View]:
        """Change what the index holds: until the end is reached, `sync` begins again with what was saved.

        Yields the current view, which was asked nothing yet.
        """
        self._whole = False
        self._current.view = view = self._current.view.unasked()
        yield view
        self._whole = True

    def _use_newer(self) -> None:
        segment = self._saved.newer(self._current.view.documents.segment)
        if segment is not None:
            with self._changing():
                self._use(segment)

    def _catch_up(self, memories: LanceDataset, links: LanceDataset, appended: Appended = NOTHING) -> None:
        with self._changing() as view:
            self._current.view = Writer(view, self._scope).catch_up(memories, links, appended)
            self._tables = memories, links
