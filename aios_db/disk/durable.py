"""Forcing a version of a table to the disk: Lance writes files and leaves that to the system."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import lance
from lance.fragment import FragmentMetadata

from aios_db.engine.weights.files import force_file
from aios_db.security.permissions import FILE_MODE

# Lance names manifests by the distance of their version from this, so that a listing begins with the newest
# (https://lance.org/format/table/transaction/: manifest naming scheme V2).
_LAST = 2**64 - 1
VERSIONS, TRANSACTIONS = "_versions", "_transactions"
HINT = f"{VERSIONS}/latest_version_hint.json"
FORCED = "_forced"


def manifest(version: int) -> str:
    """Return the path of a version's manifest within its table."""
    return f"{VERSIONS}/{_LAST - version:020d}.manifest"


def versions(table: Path) -> list[int]:
    """Return the versions of a table that have a manifest, newest first."""
    try:
        names = [each.name for each in os.scandir(table / VERSIONS)]
    except FileNotFoundError:
        return []
    # Beside them lie a hint and what is being written; Lance's own listing fails when that goes meanwhile.
    found = (_LAST - int(name.partition(".")[0]) for name in names if name.endswith(".manifest"))
    return sorted(found, reverse=True)


def hinted(table: Path) -> int:
    """Return the number of the newest version by what is written after one; 0 where nothing says it."""
    found = forced_version(table)
    with suppress(OSError, ValueError, KeyError, TypeError):  # Lance's own is a hint only
        found = max(found, int(json.loads((table / HINT).read_text("utf-8"))["version"]))
    return found


def forced_version(table: Path) -> int:
    """Return the newest version that is known to have been on the disk as a whole; 0 when none is."""
    with suppress(OSError, ValueError):
        version, checksum = (table / FORCED).read_bytes().split()
        if zlib.crc32(version) == int(checksum, 16):
            return int(version)
    return 0


def fragment_files(fragments: Iterable[FragmentMetadata]) -> Iterator[tuple[str, int | None]]:
    """Yield the path, within the table, and the size in bytes, if it is known, of each file of fragments."""
    for fragment in fragments:
        for file in fragment.files:
            # The property `path` makes a class of Lance's whenever it is read.
            yield f"data/{file._path}", file.file_size_bytes or None
        if fragment.deletion_file is not None:
            yield fragment.deletion_file.path(fragment.id), None


def data_files(dataset: lance.LanceDataset) -> Iterator[tuple[str, int | None]]:
    """Yield the same of each file with rows or deletions of a version."""
    return fragment_files(each.metadata for each in dataset.get_fragments())


def index_files(dataset: lance.LanceDataset) -> Iterator[str]:
    """Yield the path, within the table, of each file of the scalar indices of a version."""
    for index in dataset.describe_indices():
        for segment in index.segments:
            directory = f"_indices/{segment.uuid}"
            with suppress(FileNotFoundError, NotADirectoryError):
                yield from (f"{directory}/{each}" for each in os.listdir(f"{dataset.uri}/{directory}"))


class DurableTable:
    """Forces versions of one table to the disk, each file once per process.

    A version shares most files with the one before, which another process may have made without forcing it:
    what this process has not forced itself, it forces.

    Parameters
    ----------
    path
        The table's directory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forced: set[str] = set()

    def force(self, dataset: lance.LanceDataset) -> None:
        """Return when every file of a version is on the disk: what it reads first, then its manifest.

        Raises
        ------
        OSError
            The disk fails, or a file of the version is gone.
        """
        named = {*(path for path, _ in data_files(dataset)), *index_files(dataset)}
        self._force(named - self._forced)
        self._force({manifest(dataset.version)})
        self._forced = named  # what only older versions have is of no use
        _note_forced(self._path, dataset.version)

    def _force(self, paths: set[str]) -> None:
        for path in sorted(paths):
            force_file(self._path / path)
        for directory in {(self._path / path).parent for path in paths}:
            force_file(directory)


def _note_forced(table: Path, version: int) -> None:
    """Note that a version is on the disk. The note need not get there: without it, less is known."""
    if forced_version(table) >= version:
        return
    said = b"%020d" % version
    with suppress(OSError):
        descriptor = os.open(table / FORCED, os.O_WRONLY | os.O_CREAT, FILE_MODE)
        try:
            os.pwrite(descriptor, b"%s %08x\n" % (said, zlib.crc32(said)), 0)  # in place, within one sector
        finally:
            os.close(descriptor)
