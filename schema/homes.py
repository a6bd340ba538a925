"""Paths that begin with ``~``."""

from __future__ import annotations

import os
from pathlib import Path

from aios_db.schema.errors import OperationalError


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path in which a leading ``~`` is the user's home.

    Raises
    ------
    OperationalError
        That user is not known, or this one has no home, as in a container without ``$HOME``.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise OperationalError(
            f"{os.fspath(path)} begins with a home directory that is not known: set HOME, or name it in full"
        ) from None
