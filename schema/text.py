"""What is text: letters of Unicode, and no half of one."""

from __future__ import annotations

import os
from pathlib import Path

from aios_db.schema.errors import ProgrammingError


def is_unicode(text: str) -> bool:
    """Tell whether a text has no lone surrogates, as bytes that were read by a wrong encoding leave them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_of(path: str | os.PathLike[str], called: str) -> Path:
    """Return a path that the tables can be at; ``called`` is the function that was given it.

    Raises
    ------
    ProgrammingError
        It is no path. Or it has a byte that is no letter of Unicode, as names of other systems may, or a NUL.
    """
    try:
        text = os.fspath(path)
    except TypeError:
        raise ProgrammingError(f"{called}: {path!r} is no path; give a text or a pathlib.Path") from None
    if not isinstance(text, str):
        raise ProgrammingError(f"{called}: {text!r} is no path; give a text or a pathlib.Path")
    if not is_unicode(text) or "\0" in text:
        raise ProgrammingError(f"{called}: {text!r} is no path; give one of letters that Unicode has")
    return Path(text)
