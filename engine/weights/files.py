"""Files that are replaced whole or not at all, and what identifies their content."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 1 << 20  # bytes read at a time


@contextmanager
def atomic_write(path: Path, *, forced: bool = False, alone: bool = False) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; that file takes the place of ``path`` as the block is left.

    Where the block raises, ``path`` stays as it was and nothing is left beside it. Readers see the old file
    or the new one. An error of the system that names no file, as that of a full disk, names ``path`` then.

    Parameters
    ----------
    forced
        Whether the new content is on the disk before it takes its place.
    alone
        Whether nobody else writes ``path`` at the same time. The name beside it is then always the same, so
        that what a killed process left there is written over; otherwise every writer has its own.
    """
    part = path.with_name(f".{path.name}.new" if alone else f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield part
        if forced:
            _force(part)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def force_file(path: Path) -> None:
    """Return when a file's content, or a directory's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def force_tree(path: Path) -> None:
    """Force a directory with all that is in it."""
    for root, _, names in os.walk(path, topdown=False):
        for name in names:
            force_file(Path(root, name))
        force_file(Path(root))


def _force(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
