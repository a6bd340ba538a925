"""Pictures and sounds as they are given: bytes, a path or a URI, read where the connection may read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

from aios_db.joint.given import as_file
from aios_db.schema.errors import DataError, OperationalError, ProgrammingError
from aios_db.schema.homes import expanded

MAX_BYTES = 1 << 30
"""Of a file that is read."""

_MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"GIF8", 0, "image/gif"),
    (b"BM", 0, "image/bmp"),
    (b"II*\0", 0, "image/tiff"),
    (b"MM\0*", 0, "image/tiff"),
    (b"WEBP", 8, "image/webp"),
    (b"WAVE", 8, "audio/wav"),
    (b"fLaC", 0, "audio/flac"),
    (b"OggS", 0, "audio/ogg"),
    (b"ID3", 0, "audio/mpeg"),
    (b"\xff\xfb", 0, "audio/mpeg"),
    (b"\xff\xf3", 0, "audio/mpeg"),
    (b"\xff\xf2", 0, "audio/mpeg"),
    (b"AIFF", 8, "audio/aiff"),
)
_SUFFIXES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif",
    ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff",
    ".webp": "image/webp", ".wav": "audio/wav",
    ".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg",
    ".mp3": "audio/mpeg", ".aif": "audio/aiff", ".aiff": "audio/aiff",
}  # fmt: skip

_SOME_PICTURE = "image/unknown"
"""The type of what was given as a picture and is none by its first bytes or its name: Pillow may know it."""


class Reach(Protocol):
    """What may be read besides the database."""

    def check_path(self, path: Path, *, others: Sequence[Path] = ()) -> None:
        """Refuse a path that lies elsewhere."""
        ...


def media_type_of(media: bytes | None, uri: str | None) -> str | None:
    """Return the MIME type of a picture or sound by its first bytes or its name, None for what is neither."""
    if media is not None:
        head = bytes(media[:16])
        return next((kind for magic, at, kind in _MAGIC if head[at : at + len(magic)] == magic), None)
    if uri is None:
        return None
    parsed = urlparse(uri)
    path = parsed.path if len(parsed.scheme) > 1 else uri  # of a plain path, # and ? are letters
    return _SUFFIXES.get(Path(path).suffix.lower())


def read_media(given: bytes | str, reach: Reach) -> bytes:
    """Return the bytes of a medium that is given as such, or as a path or a ``file:`` URI.

    Raises
    ------
    DataError
        There is no such file, it is too large, or what is given is no local file.
    OperationalError
        It lies where the connection may not read.
    """
    if not isinstance(given, str):
        return bytes(given)
    if not given.strip():
        raise DataError("the path of a picture or sound is empty")
    parsed = urlparse(given)
    if parsed.scheme and len(parsed.scheme) > 1 and parsed.scheme != "file":  # one letter is a drive
        raise DataError(f"{given[:200]!r} is no local file; download it, and give its bytes or its path")
    path = expanded(unquote(parsed.path) if parsed.scheme == "file" else given)
    try:
        real = path.resolve()
        reach.check_path(real)
        if not real.is_file():
            raise DataError(f"{path} is no file")
        with real.open("rb") as file:
            opened = os.fstat(file.fileno())
            if path.resolve() != real or not os.path.samestat(opened, real.stat()):
                raise DataError(f"{path} was exchanged while it was read")
            if opened.st_size > MAX_BYTES:
                raise DataError(f"{path} has {opened.st_size:,} bytes, and the most is {MAX_BYTES:,}")
            return file.read(MAX_BYTES)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def with_media(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with the columns that its ``image`` and ``audio`` are stored in: bytes, or a path or URI.

    Raises
    ------
    ProgrammingError
        A picture is given twice, as ``image`` and as ``media``.
    DataError
        It is empty, or something that `given.as_file` does not know.
    """
    if "image" not in row and row.get("audio") is None:
        return row
    found = dict(row)
    for name, column in (("image", "media"), ("audio", "audio")):
        given = as_file(found.pop(name, None), name)
        if given is None:
            continue
        place = f"{column}_uri" if isinstance(given, str) else column
        if found.get(place) is not None:
            raise ProgrammingError(f"{name} and {place} are both given; leave one out")
        found[place] = given
        if name == "image" and found.get("media_type") is None:
            found["media_type"] = _picture_type(found[place])
    return found


def with_new_media(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a change of a memory with the columns that ``image`` and ``audio`` are stored in.

    What is given takes the place of what was there, be that bytes or a path; None leaves nothing of it.

    Raises
    ------
    ProgrammingError
        A picture or sound is given twice, as ``image`` and as ``media_uri``.
    DataError
        It is empty, or something that `given.as_file` does not know.
    """
    found = dict(row)
    for name, column in (("image", "media"), ("audio", "audio")):
        if name not in row:
            continue
        twice = ({"media", "media_uri"} if name == "image" else {"audio_uri"}) & row.keys()
        if twice:
            raise ProgrammingError(f"{name} and {min(twice)} are both given; leave one out")
        given = as_file(found.pop(name), name)
        path = given if isinstance(given, str) else None
        found[column], found[f"{column}_uri"] = (None if path is not None else given), path
        if name == "image":
            found.setdefault("media_type", None if given is None else _picture_type(path or given))
    return found


def _picture_type(given: bytes | str) -> str:
    content = given[:16] if isinstance(given, bytes) else None
    return media_type_of(content, given if isinstance(given, str) else None) or _SOME_PICTURE


def tried(given: bytes | str, reach: Reach) -> bytes | DataError:
    """Return the bytes of a medium, or why they cannot be read; the rest goes on."""
    try:
        return read_media(given, reach)
    except (DataError, OperationalError) as error:
        return DataError(str(error))
