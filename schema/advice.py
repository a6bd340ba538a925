"""What to do about a failure of the disk."""

from __future__ import annotations

import errno

_SHORT_WRITE = " requested and "  # of NumPy's, which names no errno
_FULL = (
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    ("no space left", "quota exceeded", "file too large", _SHORT_WRITE),
)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS), ("permission denied", "read-only file system")

NO_PLACE = "choose a place that can be written to, or fix the permissions"
"""What to do where something new is refused."""

NO_MODELS = "set engine.models_dir to a directory that this user may write"
"""What to do where a model is refused its place."""


def advice(error: BaseException, otherwise: str, refused: str = NO_PLACE) -> str:
    """Return what to do about a write that failed.

    Parameters
    ----------
    otherwise
        Where the failure itself does not say.
    refused
        Where writing is not allowed.
    """
    message, number = str(error).lower(), error.errno if isinstance(error, OSError) else None
    for numbers, signs, said in ((*_FULL, "free some space and try again"), (*_NOT_ALLOWED, refused)):
        if number in numbers or any(sign in message for sign in signs):
            return said
    return otherwise


def with_advice(error: BaseException, otherwise: str = "", refused: str = NO_PLACE) -> str:
    """Return what an error says, and then what to do about it."""
    said = advice(error, otherwise, refused)
    return f"{error}; {said}" if said else str(error)
