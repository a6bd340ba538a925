"""A lack of memory, as whoever meets it says it: Python, torch, Arrow, the system as it loads a library."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from aios_db.schema.errors import OperationalError

_SIGNS = (
    "failed to map segment",  # of a library, by the system's loader
    "cannot allocate memory",
    "can't allocate memory",
    "bad_alloc",
    "bad allocation",
    "paging file is too small",
)
_Function = TypeVar("_Function", bound=Callable[..., Any])


def lacks_memory(error: BaseException) -> bool:
    """Tell whether an error of Python's, of the system or of a library is one of too little memory."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error).lower()
    return isinstance(error, ImportError | OSError | RuntimeError) and any(sign in said for sign in _SIGNS)


def shortage(doing: str, error: BaseException) -> OperationalError | None:
    """Return what to raise in the place of an error of too little memory, or of a library that does not load.

    Parameters
    ----------
    doing
        What failed, as the caller named it: ``"consolidate"``.

    Returns
    -------
    OperationalError or None
        None for any other error.
    """
    said = str(error)
    if lacks_memory(error):
        return OperationalError(
            f"{doing} failed: there is too little memory{f': {said}' if said else ''}; free some, or raise "
            "the limit of this process (ulimit -v, that of its container)"
        )
    return OperationalError(f"{doing} failed: {said}") if isinstance(error, ImportError) else None


def tells_shortage(function: _Function) -> _Function:
    """Let a function raise an `OperationalError` where there is too little memory for it."""

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except (MemoryError, ImportError, OSError, RuntimeError) as error:
            told = shortage(function.__name__, error)
            if told is None:
                raise
            raise told from error

    return cast(_Function, call)
