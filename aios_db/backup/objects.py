"""Files kept once each, under the SHA-256 of their content.

What two backups share is there once; a file is never changed, so that copying can be interrupted anywhere.
When a file was last read and found to be what it was is the time of its last change in the file system.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aios_db.engine.weights.files import force_file
from aios_db.schema.errors import OperationalError
from aios_db.security.permissions import DIRECTORY_MODE, FILE_MODE

logger = logging.getLogger("aios_db.backup")

_BLOCK = 1 << 20
_NEW = "new"  # what is being copied


@dataclass(frozen=True)
class Entry:
    """One file of a backup."""

    path: str
    """Within the database, or within a model's directory; parts separated by ``/``."""
    size: int
    """Bytes."""
    sha256: str


class Objects:
    """The files in one directory.

    Parameters
    ----------
    root
        The directory; made with the first file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mended: list[str] = []
        """Names of damaged files that were replaced."""
        self._touched: set[Path] = set()
        self._added: list[Path] = []
        self._sound: dict[str, bool] = {}

    def path(self, entry: Entry) -> Path:
        """Return where the content of an entry lies, or would lie."""
        return self.root / entry.sha256[:2] / entry.sha256

    def has(self, entry: Entry) -> bool:
        """Tell whether a file of this entry's name and size is there; what is in it is not looked at."""
        try:
            return self.path(entry).stat().st_size == entry.size
        except FileNotFoundError:
            return False

    def looked_at(self, entry: Entry) -> int:
        """Return when a file was last known to be what it was, in nanoseconds; 0 when it is not there."""
        try:
            return self.path(entry).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def is_sound(self, entry: Entry) -> bool:
        """Tell whether a file is there and has its digest; it is read once by each of these objects."""
        if entry.sha256 not in self._sound:
            try:
                self.check(entry)
                self._sound[entry.sha256] = True
                with suppress(OSError):
                    os.utime(self.path(entry))
            except (OperationalError, OSError) as error:
                if self.has(entry):
                    logger.warning("%s", error)
                self._sound[entry.sha256] = False
        return self._sound[entry.sha256]

    def add(self, name: str, blocks: Iterable[bytes]) -> tuple[Entry, bool]:
        """Store a content, on the disk when this returns; return its entry, and whether it is new here.

        One that is there and damaged is replaced, which mends other backups with it.
        """
        self.root.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        new = self.root / _NEW
        size, digest = 0, hashlib.sha256()
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as file:
            for block in blocks:
                digest.update(block)
                size += file.write(block)
            entry = Entry(name, size, digest.hexdigest())
            damaged = os.path.lexists(self.path(entry)) and not self.is_sound(entry)
            there = self.has(entry) and not damaged
            if not there:
                file.flush()
                os.fsync(file.fileno())
        if there:
            new.unlink()
            return entry, False
        place = self.path(entry)
        place.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        new.replace(place)
        self._touched |= {place.parent, self.root}
        self._sound[entry.sha256] = True
        if not damaged:
            self._added.append(place)
        else:
            self.mended.append(name)
            logger.warning("%s of the backups was damaged, and is copied anew", name)
        return entry, True

    def take_back(self) -> None:
        """Remove what was added, for a backup that is broken off; what was damaged stays mended."""
        (self.root / _NEW).unlink(missing_ok=True)
        while self._added:
            self._added.pop().unlink(missing_ok=True)

    def force(self) -> None:
        """Return when the names of all that was added are on the disk."""
        for directory in sorted(self._touched):
            force_file(directory)
        self._touched.clear()

    def check(self, entry: Entry) -> None:
        """Read the content of an entry and compare it with its digest.

        Raises
        ------
        OperationalError
            It is missing or damaged; the message names both files.
        """
        for _ in self._verified(entry):
            pass

    def copy(self, entry: Entry, place: Path) -> None:
        """Write the content of an entry to a new file, on the disk when this returns; raises as `check`."""
        place.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
            for block in self._verified(entry):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def prune(self, kept: Iterable[Entry]) -> int:
        """Remove every file that none of the entries names; return their bytes."""
        names, removed = {each.sha256 for each in kept}, 0
        for path in self.root.rglob("*"):
            if path.is_file() and path.name not in names:
                removed += path.stat().st_size
                path.unlink()
        return removed

    def _verified(self, entry: Entry) -> Iterator[bytes]:
        digest, size, path = hashlib.sha256(), 0, self.path(entry)
        try:
            for block in blocks_of(path):
                digest.update(block)
                size += len(block)
                yield block
        except FileNotFoundError:
            raise OperationalError(f"{entry.path} is missing in the backup: there is no {path}") from None
        if (size, digest.hexdigest()) != (entry.size, entry.sha256):
            raise OperationalError(
                f"{entry.path} is damaged in the backup: {path} has {size} bytes with SHA-256 "
                f"{digest.hexdigest()}, and not {entry.size} with {entry.sha256}"
            )


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in blocks."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
