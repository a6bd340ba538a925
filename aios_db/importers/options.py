"""What a user says about the files of an import, examined before the first is read."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo

from aios_db.importers.base import Options
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.memories import WRITABLE


def checked_options(
    mapping: Mapping[str, str] | None, encoding: str | None, header: bool, time_zone: str | None
) -> Options:
    """Return what the user says about files, or raise `ProgrammingError` when it cannot be meant."""
    for column in mapping or {}:
        if column not in WRITABLE:
            raise ProgrammingError(
                f"there is no column {column!r} to map to; there are {', '.join(WRITABLE)}"
            )
    try:
        if encoding is not None and not codecs.lookup(encoding)._is_text_encoding:
            raise LookupError
    except LookupError:
        raise ProgrammingError(f"there is no text encoding {encoding!r}; utf-8 and cp1252 are two") from None
    return Options(encoding, header, dict(mapping or {}), zone_called(time_zone))


def zone_called(name: str | None) -> tzinfo:
    """Return the time zone of a name, UTC for None, or raise `ProgrammingError` when there is none."""
    try:
        return ZoneInfo(name) if name is not None else timezone.utc
    except (KeyError, ValueError, OSError):
        raise ProgrammingError(
            f"there is no time zone {name!r}; Europe/Lisbon and America/New_York are two"
        ) from None
