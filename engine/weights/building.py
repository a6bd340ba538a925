"""A directory is built beside its place and renamed into it; what killed processes left there is removed."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = ".building"
_FRESH_S = 60.0  # a directory may be made and not be locked yet


@contextmanager
def building(target: Path, mode: int = 0o755) -> Iterator[Path]:
    """Yield a new, empty directory on the file system of ``target``, to be filled and renamed to it.

    What is not renamed is removed in the end. A process that is killed leaves its directory
    (``.NAME.…`` beside ``target``), which the next one that builds ``target`` removes.

    Parameters
    ----------
    target
        Where the directory is to be; the directory that it is in is made if need be.
    mode
        Who may read it, less what the umask forbids.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(target)
    around = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with FileLock(around / _LOCK):
            build = around / "build"
            build.mkdir(mode)
            yield build
    finally:
        shutil.rmtree(around, ignore_errors=True)


def _remove_left(target: Path) -> None:
    """Remove directories that nobody is building any more."""
    for left in target.parent.glob(f".{escape(target.name)}.*"):
        try:
            if not left.is_dir() or time.time() - left.stat().st_mtime < _FRESH_S:
                continue
            with FileLock(left / _LOCK, timeout=0):
                pass
        except (Timeout, OSError):
            continue
        shutil.rmtree(left, ignore_errors=True)
