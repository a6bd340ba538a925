"""The directory of backups: `backups/`, a manifest each, and `files/`, which they share."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from aios_db.backup.manifest import FORMAT, Manifest
from aios_db.backup.objects import Objects
from aios_db.disk.failures import operational
from aios_db.engine.weights.files import atomic_write, force_file
from aios_db.schema.advice import NO_PLACE
from aios_db.schema.errors import OperationalError
from aios_db.schema.homes import expanded
from aios_db.security.permissions import DIRECTORY_MODE, write_private

logger = logging.getLogger("aios_db.backup")

_MARKER = "aios-backup.json"
_LOCK = "backup.lock"


class Target:
    """One directory of backups.

    Parameters
    ----------
    path
        Where it is or will be.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = expanded(path).absolute()
        self.objects = Objects(self.path / "files")
        self._manifests = self.path / "backups"

    def create(self) -> None:
        """Make the directory when there is none.

        Raises
        ------
        OperationalError
            There is something else.
        """
        if (self.path / _MARKER).is_file():
            return
        if self.path.exists() and not self.path.is_dir():
            raise OperationalError(f"{self.path} is a file; backups are kept in a directory")
        with operational(f"making {self.path}", refused=NO_PLACE):
            self.path.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
            if foreign := sorted({each.name for each in self.path.iterdir()} - {f".{_MARKER}.new", _LOCK}):
                raise OperationalError(
                    f"{self.path} holds {foreign[0]!r} and no backups; give an empty directory, or a new one"
                )
            _write(self.path / _MARKER, json.dumps({"format": FORMAT}))
            self._manifests.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            force_file(self.path)
            force_file(self.path.parent)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only one who adds and removes backups here.

        Raises
        ------
        OperationalError
            Another process is.
        """
        try:
            with FileLock(self.path / _LOCK, blocking=False):
                yield
        except Timeout:
            raise OperationalError(f"another backup to {self.path} is being made; wait for it") from None

    def ids(self) -> list[str]:
        """Return the backups, oldest first.

        Raises
        ------
        OperationalError
            The path holds no backups.
        """
        if not (self.path / _MARKER).is_file():
            raise OperationalError(f"{self.path} holds no backups of an aios_db database")
        return sorted(each.stem for each in self._manifests.glob("*.json"))

    def read(self, backup_id: str | None = None) -> Manifest:
        """Return a backup; the newest by default.

        Raises
        ------
        OperationalError
            There is none of that id, or its manifest is damaged; the message says which others there are.
        """
        ids = self.ids()
        if not ids:
            raise OperationalError(f"{self.path} holds no finished backup")
        wanted = ids[-1] if backup_id is None else backup_id
        if wanted not in ids:
            raise OperationalError(f"{self.path} holds no backup {wanted!r}; there are {', '.join(ids)}")
        place = self._manifests / f"{wanted}.json"
        try:
            return Manifest.from_json(place.read_text("utf-8"), place)
        except (OSError, UnicodeDecodeError) as error:
            raise OperationalError(f"{place} cannot be read: {error}") from error
        except OperationalError as error:
            others = ", ".join(each for each in ids if each != wanted)
            raise OperationalError(f"{error}{f'; other backups there: {others}' if others else ''}") from None

    def readable(self) -> list[Manifest]:
        """Return the backups that are not damaged, newest first; of others a warning tells."""
        found = []
        for each in reversed(self.ids()):
            try:
                found.append(self.read(each))
            except OperationalError as error:
                logger.warning("%s", error)
        return found

    def add(self, manifest: Manifest) -> None:
        """Make a backup count, on the disk when this returns; its files are there already."""
        self.objects.force()
        _write(self._manifests / f"{manifest.id}.json", manifest.to_json())

    def remove(self, backup_id: str) -> None:
        """Make a backup count no more; its files stay until they are pruned."""
        (self._manifests / f"{backup_id}.json").unlink()


def _write(place: Path, text: str) -> None:
    with atomic_write(place, forced=True, alone=True) as part:
        write_private(part, text)
    force_file(place.parent)
