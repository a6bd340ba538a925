"""`SearchIndex`: vectors, keywords and links of the memories, kept up with the Lance tables by their deltas.

Reads see a `View`: a mapped segment, and in memory what came since. `sync` lets a `Writer` read what changed
in the tables since the last call, and make the next view; `save` merges both into a new segment. The index is
derived: deleting its directory loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from aios_db.search.analyzer import AUTO, Analyzer
from aios_db.search.answers import Answers
from aios_db.search.current import Current
from aios_db.search.keeping_up import KeepingUp
from aios_db.search.part import Part
from aios_db.search.saved import SavedSegments
from aios_db.search.segment import Version
from aios_db.search.standing import Standing
from aios_db.search.view import View
from aios_db.security.scope import EVERYTHING, Scope

if TYPE_CHECKING:
    from lance import LanceDataset


def _without_counts(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows


class SearchIndex(Answers):
    """The index of one database; safe to use from many threads.

    Each answer is one of the view that was published last. The index is kept up with the tables meanwhile.

    Parameters
    ----------
    saved
        Where segments are written; it starts from the newest.
    scope
        The index never hears of memories outside of it, nor of links that lead out.
    standing
        How far memories are trusted, and which are held; by default all are trusted fully.
    with_counts
        Returns a batch of `returned_schema` with the recalls added, which are counted elsewhere.
    memories
        The table of them, of which vectors are read that the newest segment has not.
    """

    def __init__(
        self,
        saved: SavedSegments,
        scope: Scope = EVERYTHING,
        standing: Standing | None = None,
        with_counts: Callable[[pa.RecordBatch], pa.RecordBatch] = _without_counts,
        memories: LanceDataset | None = None,
    ) -> None:
        self.scope, self.standing = scope, standing or Standing()
        self.directory, self.language = saved.directory, saved.language
        view = View.of(saved.newest(memories), Analyzer(saved.language))
        self._current = Current(view, self.standing)
        super().__init__(self._current, saved.dimension, with_counts)

        self._keeping_up = keeping_up = KeepingUp(self._current, saved, scope)
        self.sync, self.save = keeping_up.sync, keeping_up.save
        self.suppose, self.suppose_links = keeping_up.suppose, keeping_up.suppose_links

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
        with_counts: Callable[[pa.RecordBatch], pa.RecordBatch] = _without_counts,
        memories: LanceDataset | None = None,
    ) -> SearchIndex:
        """Map the newest segment; without a usable one the index is empty and the first `sync` fills it.

        Each scope has a directory of its own. Parameters are those of `SavedSegments` and `SearchIndex`.
        """
        saved = SavedSegments(directory, dimension, language, packs=packs)
        return cls(saved, scope, standing, with_counts, memories)

    @property
    def version(self) -> Version:
        """The versions of the tables that the index reflects."""
        return self._current.view.version

    @property
    def parts(self) -> tuple[Part, ...]:
        """The segment and what came since, of the view of now."""
        return self._current.view.documents.parts

    @property
    def growing_rows(self) -> int:
        """Memories outside the segment; `save` brings it to 0."""
        return len(self._current.view.documents.growing)

    @property
    def needs_save(self) -> bool:
        """See `KeepingUp.needs_save`."""
        return self._keeping_up.needs_save

    @property
    def needs_save_now(self) -> bool:
        """See `KeepingUp.needs_save_now`."""
        return self._keeping_up.needs_save_now

    @property
    def link_count(self) -> int:
        """How many links the index has."""
        return len(self.links())
