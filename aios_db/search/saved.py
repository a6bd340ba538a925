"""The segments of an index in its directory: the newest is read, and a new one is kept."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.search import segment_files
from aios_db.search.segment import Segment, Version
from aios_db.search.source import vectors

if TYPE_CHECKING:
    from lance import LanceDataset

_FEW_COLD = 4096  # compressed memories of which an index is made in some .4 s


class SavedSegments:
    """Where an index keeps its segments.

    Parameters
    ----------
    directory
        None keeps them in memory only.
    dimension
        Length of the vectors.
    language
        The language of all texts, or ``auto``; a segment of another one cannot be used.
    packs
        A segment that is searched row by row is packed, without its vectors, which the table has. So is one
        of which nearly all memories are compressed, with their codes, and it is kept in no file at all where
        they are few.
    """

    def __init__(self, directory: Path | None, dimension: int, language: str, *, packs: bool) -> None:
        self.directory, self.dimension, self.language = directory, dimension, language
        self._packs = packs

    def newest(self, memories: LanceDataset | None) -> Segment:
        """Read the newest segment; an empty one where there is none that can be used.

        ``memories`` are the table that has the vectors; without it only segments can be used that have them.
        """
        return self._read(memories) or Segment.empty(self.dimension)

    def newer(self, segment: Segment, last: Version, memories: LanceDataset) -> Segment | None:
        """Read the newest segment where it is newer than another one, and not newer than ``last``."""
        own = segment.version.memories
        if self.directory is None or segment_files.newest(self.directory) <= own:
            return None
        found = self._read(memories)
        if found is None or not own < found.version.memories <= last.memories:
            return None
        return found if found.version.links <= last.links else None

    def keep(self, segment: Segment) -> Segment:
        """Write a segment as it is to be kept; return it, mapped from there where that can be."""
        if self.directory is None:
            return segment
        hot = len(segment) and not segment.is_cold
        if not self._packs or (hot and segment.clusters):
            segment_files.write(segment, self.directory, self.language)
            return self._read(None) or segment
        if hot:
            segment_files.write(segment, self.directory, self.language, segment_files.WITHOUT_VECTORS)
        elif len(segment) < _FEW_COLD:
            segment_files.remove(self.directory)
        else:
            segment_files.write(segment, self.directory, self.language, segment_files.PACKED)
        return segment

    def _read(self, memories: LanceDataset | None) -> Segment | None:
        if self.directory is None:
            return None
        of_rows = None if memories is None else partial(vectors, memories)
        return segment_files.read(self.directory, self.dimension, self.language, of_rows)
