"""`SearchIndex`: vectors, keywords and links of the memories, kept up with the Lance tables by their deltas.

Reads see a `View`: a mapped segment, and in memory what came since. `sync` lets a `Writer` read what changed
in the tables since the last call; `save` merges both into a new segment. The index is derived: deleting its
directory loses nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from aios_db.provenance.standing import Standing
from aios_db.schema.retrieval import RowIds
from aios_db.search import segment_files
from aios_db.search.analyzer import AUTO, Analyzer
from aios_db.search.build import merge
from aios_db.search.kinship import Kinship
from aios_db.search.linkrun import Links
from aios_db.search.lookups import Lookups
from aios_db.search.part import Part
from aios_db.search.searching import Searching
from aios_db.search.segment import Segment, Version
from aios_db.search.source import NOTHING, Appended
from aios_db.search.view import View
from aios_db.search.writer import Writer
from aios_db.security.scope import EVERYTHING, Scope

if TYPE_CHECKING:
    from lance import LanceDataset

logger = logging.getLogger("aios_db.search")

_FEW_COLD = 4096  # compressed memories of which an index is made in some .4 s
# Memories in the growing segment, each of some 5 kB; every new segment is a copy of all that went before.
_FEW_GROWING, _MANY_GROWING = 2048, 65536


class SearchIndex(Lookups, Kinship, Searching):
    """The index of one database; safe to use from many threads.

    Parameters
    ----------
    directory
        Where segments are written; None keeps the index in memory only.
    segment
        The segment to start from.
    dimension
        Length of the vectors.
    language
        The language of all texts, or ``auto``.
    scope
        The index never hears of memories outside of it, nor of links that lead out.
    standing
        What is found of the memories, and what counts less; by default all counts fully.
    packs
        A segment of which nearly all memories are compressed is packed, and kept in no file at all where
        they are few.
    """

    def __init__(  # noqa: PLR0917 - what it is made of
        self,
        directory: Path | None,
        segment: Segment,
        dimension: int,
        language: str = AUTO,
        scope: Scope = EVERYTHING,
        standing: Standing | None = None,
        *,
        packs: bool = False,
    ) -> None:
        self.scope = scope
        self.directory, self.dimension, self.language = directory, dimension, language
        self.with_counts = lambda rows: rows
        self.standing = standing or Standing()
        self._packs = packs
        self._analyzer = Analyzer(language)
        self._lock = threading.RLock()
        self._saving = threading.Lock()
        self._tables: tuple[LanceDataset, LanceDataset] | None = None
        self._whole = True
        self._use(segment)

    @classmethod
    def open(
        cls,
        directory: Path | None,
        dimension: int,
        language: str = AUTO,
        scope: Scope = EVERYTHING,
        standing: Standing | None = None,
        *,
        packs: bool = False,
    ) -> SearchIndex:
        """Map the newest segment; without a usable one the index is empty and the first `sync` fills it.

        A segment of another language cannot be used. Each scope has a directory of its own.
        """
        segment = segment_files.read(directory, dimension, language) if directory else None
        segment = segment or Segment.empty(dimension)
        return cls(directory, segment, dimension, language, scope, standing, packs=packs)

    @property
    def version(self) -> Version:
        """The versions of the tables that the index reflects."""
        return self._view.version

    @property
    def parts(self) -> tuple[Part, ...]:
        """The segment and what came since; to be looked at while nothing is written."""
        return self._view.parts

    @property
    def growing_rows(self) -> int:
        """Memories outside the segment; `save` brings it to 0."""
        return len(self._view.growing)

    @property
    def needs_save(self) -> bool:
        """Whether enough changed since the segment was written to write a new one."""
        saved = len(self._view.segment)
        return self._view.changes > min(max(saved // 8, _FEW_GROWING), _MANY_GROWING)

    @property
    def needs_save_now(self) -> bool:
        """Whether so much changed that whoever writes in bulk should wait for a new segment.

        Every new segment is a copy of all that went before; so what grows may grow with it.
        """
        saved = len(self._view.segment)
        return self.growing_rows > min(max(saved // 2, _MANY_GROWING), 2 * _MANY_GROWING)

    def __len__(self) -> int:
        return len(self._view)

    # Keeping up

    def sync(self, memories: LanceDataset, links: LanceDataset, appended: Appended = NOTHING) -> None:
        """Catch up with the tables.

        The snapshot of ``links`` must not be newer than that of ``memories``: a link whose end is missing is
        skipped for good. Rows that the caller has just ``appended`` need not be read.
        """
        with self._lock:
            if not self._whole:
                logger.warning("a change of the search index was broken off, reading what changed again")
                with self._changing():
                    self._use(self._saved() or Segment.empty(self.dimension))
            version = Version(memories.version, links.version)
            if version == self._view.version:
                return
            if version.memories < self._view.version.memories or version.links < self._view.version.links:
                logger.warning("tables older than the search index, reading them again")
                with self._changing():
                    self._use(Segment.empty(self.dimension))
            elif self.needs_save:
                self._use_newer()  # another process may have saved one
            self._catch_up(memories, links, appended)

    def save(self) -> None:
        """Merge everything into a new segment, write it and use it; searches and `sync` go on meanwhile."""
        with self._saving:
            with self._lock:
                if not self._whole:
                    return  # `sync` comes first
                state = self._view.state()
            segment = self._kept(merge(state))
            with self._lock:
                with self._changing():
                    self._use(segment)
                if self._tables is not None:
                    self._catch_up(*self._tables)

    # What would be: of an index that follows no table any more

    def rows(self) -> RowIds:
        """Return the row ids of all memories."""
        with self._lock:
            return self._view.all_rows()

    def suppose(self, rows: Iterable[pa.RecordBatch], gone: RowIds | None = None) -> None:
        """Put rows, with `source.MEMORY_COLUMNS` and ``_rowid``, and take others out, as if a table had."""
        with self._lock:
            writer = Writer(self._view, self.scope)
            self._view.forget_queries()
            if gone is not None:
                writer.kill(gone)
            for batch in rows:
                writer.put(batch)

    def suppose_links(self, links: Links) -> None:
        """Put links, as if the table had them."""
        with self._lock:
            self._view.forget_queries()
            self._view.graph.put(links)

    # Inside

    def _use(self, segment: Segment) -> None:
        self._view = View(segment, self.dimension, self._analyzer, self.standing)

    def _kept(self, segment: Segment) -> Segment:
        """Write a segment as it is to be kept; return it, mapped from there where that can be."""
        if self.directory is None:
            return segment
        if not self._packs or (len(segment) and not segment.is_cold):
            segment_files.write(segment, self.directory, self.language)
            return self._saved() or segment
        if len(segment) < _FEW_COLD:
            segment_files.remove(self.directory)
        else:
            segment_files.write(segment, self.directory, self.language, packed=True)
        return segment

    def _saved(self) -> Segment | None:
        return segment_files.read(self.directory, self.dimension, self.language) if self.directory else None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change what the index holds: until the end is reached, `sync` begins again with what was saved."""
        self._whole = False
        yield
        self._whole = True

    def _use_newer(self) -> None:
        own = self._view.segment.version.memories
        if self.directory is None or segment_files.newest(self.directory) <= own:
            return
        segment = self._saved()
        if segment is not None and segment.version.memories > own:
            with self._changing():
                self._use(segment)

    def _catch_up(self, memories: LanceDataset, links: LanceDataset, appended: Appended = NOTHING) -> None:
        with self._changing():
            Writer(self._view, self.scope).catch_up(memories, links, appended)
            self._tables = memories, links
