"""Files that only their owner reads: 0600, and directories 0700.

The tables' files are made by Lance, with what the process's umask leaves of 0666; the directories that they
lie in keep others out. A directory that is there before a database is made in it stays as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def open_private(path: str | Path, mode: str, **options: Any) -> Any:
    """Open a file as `open` does; one that it makes is the owner's alone."""
    return open(path, mode, opener=_opener, **options)


def write_private(path: Path, text: str) -> None:
    """Write a text into a file, UTF-8; one that it makes is the owner's alone."""
    with open_private(path, "w", encoding="utf-8") as file:
        file.write(text)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)
