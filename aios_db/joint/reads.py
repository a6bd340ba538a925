"""What writers read of files that memories name: only that is read again, whoever asks.

A memory may name a file that its writer may not read, but that others may: the owner of the database, who
fits a joint space. Therefore a writer reads a file when it is named, and a digest of it is noted. Later the
file counts only while its bytes are those that were noted for it in the memory's scope.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from aios_db.disk.failures import operational


class MediaReads:
    """The file of what was read: a SHA-256 in hexadecimal per line; a line that was torn counts for nothing.

    Parameters
    ----------
    path
        The file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: set[str] = set()
        self._read_to = 0

    def note(self, keys: Iterable[str]) -> None:
        """Add what was read, on disk before this returns.

        Raises
        ------
        OperationalError
            The disk fails or is full.
        """
        with operational(f"noting what was read in {self._path}"):
            new = sorted(set(keys) - self._newest())
            if not new:
                return
            with self._path.open("ab") as file:
                file.write(("\n" + "\n".join(new) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())

    def __contains__(self, key: str) -> bool:
        with operational(f"reading {self._path}"):
            return key in self._known or key in self._newest()

    def _newest(self) -> set[str]:
        """Return what is known once what others have added is read."""
        if self._path.exists() and self._path.stat().st_size != self._read_to:
            content = self._path.read_bytes()
            self._read_to = len(content)
            self._known = set(content.decode("ascii", "replace").split("\n"))
        return self._known


def key_of(user: str | None, agent: str | None, uri: str, content: bytes) -> str:
    """Return what is noted of a file's content that a memory of a user and an agent names."""
    known = json.dumps([user, agent, uri, hashlib.sha256(content).hexdigest()])
    return hashlib.sha256(known.encode()).hexdigest()
