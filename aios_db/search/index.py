"""`SearchIndex`: vectors, keywords and links of the memories, kept up with the Lance tables by their deltas.

Reads see a `View`: a mapped segment, and in memory what came since. `sync` lets a `Writer` read what changed
in the tables since the last call; `save` merges both into a new segment. The index is derived: deleting its
directory loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from aios_db.search.analyzer import AUTO, Analyzer
from aios_db.search.current import Current
from aios_db.search.joint_searching import JointSearching
from aios_db.search.keeping_up import KeepingUp
from aios_db.search.kinship import Kinship
from aios_db.search.lookups import Lookups
from aios_db.search.part import Part
from aios_db.search.saved import SavedSegments
from aios_db.search.searching import Searching
from aios_db.search.segment import Version
from aios_db.search.spreading import Spreading
from aios_db.search.standing import Standing
from aios_db.search.trusting import Trusting
from aios_db.search.view import View
from aios_db.security.scope import EVERYTHING, Scope


def _without_counts(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows


class SearchIndex:
    """The index of one database; safe to use from many threads.

    It names what its parts can do: each is handed the current view, or a way to replace it, and knows neither
    the others nor the index.

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

    Attributes
    ----------
    kinship
        What links of new memories are proposed from.
    """

    def __init__(
        self,
        saved: SavedSegments,
        scope: Scope = EVERYTHING,
        standing: Standing | None = None,
        with_counts: Callable[[pa.RecordBatch], pa.RecordBatch] = _without_counts,
    ) -> None:
        self.scope, self.standing = scope, standing or Standing()
        self.directory, self.dimension, self.language = saved.directory, saved.dimension, saved.language
        self._current = current = Current(View.of(saved.newest(), Analyzer(saved.language), self.standing))

        self._keeping_up = keeping_up = KeepingUp(current, saved, scope)
        self.sync, self.save = keeping_up.sync, keeping_up.save
        self.suppose, self.suppose_links = keeping_up.suppose, keeping_up.suppose_links

        lookups, trusting = Lookups(current, with_counts), Trusting(current)
        self.find_ids, self.find_digests = lookups.find_ids, lookups.find_digests
        self.find_content, self.find_other = lookups.find_content, lookups.find_other
        self.memory_ids, self.memories, self.made_of = lookups.memory_ids, lookups.memories, lookups.made_of
        self.times, self.ends, self.has = lookups.times, lookups.ends, lookups.has
        self.users, self.owners, self.has_others = lookups.users, lookups.owners, lookups.has_others
        self.rows, self.living, self.links = lookups.rows, lookups.living, lookups.links
        self.trust, self.held = trusting.trust, trusting.held
        self.classes, self.has_below = trusting.classes, trusting.has_below

        searching, joint = Searching(current, saved.dimension), JointSearching(current)
        self.vector_search, self.vector_scores = searching.vector_search, searching.vector_scores
        self.keyword_search, self.keyword_scores = searching.keyword_search, searching.keyword_scores
        self.joint_search, self.joint_scores = joint.joint_search, joint.joint_scores
        spreading = Spreading(current)
        self.spread, self.neighbors = spreading.spread, spreading.neighbors
        self.kinship = Kinship(current)

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
    ) -> SearchIndex:
        """Map the newest segment; without a usable one the index is empty and the first `sync` fills it.

        Each scope has a directory of its own. Parameters are those of `SavedSegments` and `SearchIndex`.
        """
        saved = SavedSegments(directory, dimension, language, packs=packs)
        return cls(saved, scope, standing, with_counts)

    def __len__(self) -> int:
        return len(self._current.view)

    @property
    def version(self) -> Version:
        """The versions of the tables that the index reflects."""
        return self._current.view.version

    @property
    def parts(self) -> tuple[Part, ...]:
        """The segment and what came since; to be looked at while nothing is written."""
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
