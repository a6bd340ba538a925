"""The segments of an index in its directory: the newest is read, and a new one is kept."""

from __future__ import annotations

from pathlib import Path

from aios_db.search import segment_files
from aios_db.search.segment import Segment, Version

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
        A segment of which nearly all memories are compressed is packed, and kept in no file at all where
        they are few.
    """

    def __init__(self, directory: Path | None, dimension: int, language: str, *, packs: bool) -> None:
        self.directory, self.dimension, self.language = directory, dimension, language
        self._packs = packs

    def newest(self) -> Segment:
        """Map the newest segment; an empty one where there is none that can be used."""
        return self._read() or Segment.empty(self.dimension)

    def newer(self, segment: Segment, last: Version) -> Segment | None:
        """Map the newest segment where it is newer than another one, and not newer than ``last``."""
        own = segment.version.memories
        if self.directory is None or segment_files.newest(self.directory) <= own:
            return None
        found = self._read()
        if found is None or not own < found.version.memories <= last.memories:
            return None
        return found if found.version.links <= last.links else None

    def keep(self, segment: Segment) -> Segment:
        """Write a segment as it is to be kept; return it, mapped from there where that can be."""
        if self.directory is None:
            return segment
        if not self._packs or (len(segment) and not segment.is_cold):
            segment_files.write(segment, self.directory, self.language)
            return self._read() or segment
        if len(segment) < _FEW_COLD:
            segment_files.remove(self.directory)
        else:
            segment_files.write(segment, self.directory, self.language, packed=True)
        return segment

    def _read(self) -> Segment | None:
        return segment_files.read(self.directory, self.dimension, self.language) if self.directory else None
