"""Which links the column of links in `memories` does not show yet, whoever wrote them.

The column is written a moment after the links, by the process that wrote these. Before the first of them, a
file gets the version of the links that the column shows, and who goes beyond it. So what a process that was
ended owes is known to the others, and of several that write at once each can do it for all.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lance

from aios_db.engine.weights.files import force_file
from aios_db.schema.database import UNSHOWN
from aios_db.schema.errors import OperationalError, ProgrammingError
from aios_db.security.permissions import FILE_MODE
from aios_db.store.differences import difference
from aios_db.store.kept import kept

REMEDY = "delete it; the file of this name is made anew"

_NOBODY, SEVERAL = "-" * 32, "*" * 32


@dataclass(frozen=True)
class Unshown:
    """That links were written which the column may not show."""

    since: int
    """The version of the links up to which it shows all; 0 where that is not known."""
    writer: str = SEVERAL
    """The one that has written since."""

    def memory_ids(self, links: lance.LanceDataset) -> set[str] | None:
        """Return the memories whose links differ between that version and ``links``; None where any may."""
        if not self.since:
            return None
        try:
            done = difference(kept(links, self.since), links)
        except (OperationalError, ProgrammingError):  # it is kept no longer, or is of another table
            return None
        return {name for rows in (done.added, done.lost) for name in rows["source_id"].to_pylist()}


class UnshownFile:
    """What all processes know of it; whoever changes it holds the write lock.

    Parameters
    ----------
    directory
        The database.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / UNSHOWN
        self._is_named = False  # on the disk, in the directory

    def read(self) -> Unshown | None:
        """Return what is not shown; None where all is."""
        try:
            said = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:  # something else is in its place
            return Unshown(0)
        with suppress(ValueError):
            since, writer, checksum = said.split()
            if zlib.crc32(since + writer) == int(checksum, 16):
                return None if writer.decode() == _NOBODY else Unshown(int(since), writer.decode())
        return Unshown(0) if said else None

    def write(self, said: Unshown | None) -> None:
        """Put it there; not forced to the disk.

        Raises
        ------
        OperationalError
            A directory is in its place.
        """
        said = said or Unshown(0, _NOBODY)
        since, writer = b"%020d" % said.since, said.writer.encode()
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, FILE_MODE)
        except IsADirectoryError as error:
            raise OperationalError(f"{self._path} is a directory: {REMEDY}") from error
        try:  # in place, within one sector
            os.pwrite(descriptor, b"%s %s %08x\n" % (since, writer, zlib.crc32(since + writer)), 0)
        finally:
            os.close(descriptor)

    def force(self) -> None:
        """Return when it is on the disk."""
        force_file(self._path)
        if not self._is_named:
            force_file(self._path.parent)
            self._is_named = True
