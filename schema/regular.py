"""Pipes, sockets and devices in the place of files: whoever opened one would wait, or read without an end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from aios_db.schema.errors import OperationalError


def is_special(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is something at a path that is neither a file nor a directory."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # there is nothing, or nothing that may be looked at: whoever opens it is told
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_special(*directories: Path) -> None:
    """Refuse directories in which a pipe, a socket or a device stands in the place of a file.

    Raises
    ------
    OperationalError
        One does; nothing was opened.
    """
    for directory in directories:
        if not directory.is_dir():
            continue
        with os.scandir(directory) as entries:
            for entry in entries:
                if not (entry.is_file() or entry.is_dir()) and is_special(entry.path):
                    raise OperationalError(
                        f"{entry.path} is a pipe, a socket or a device, and no file of a database: remove it"
                    )
