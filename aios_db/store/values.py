"""Single values as callers write them: moments in time and JSON objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from math import isnan
from pathlib import PurePath
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIMESTAMP
from aios_db.times import parse_time

_WHOLE = 2.0**53  # up to here a float holds every whole number
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 and 9999 in microseconds
_LONGEST = 80  # characters of a value in an error
_ISO = re.compile(r"\d{4}-?(?:\d\d-?\d\d|W)(?!\d)")


def timestamps(column: pa.Array, name: str) -> pa.Array:
    """Return a column of dates, timestamps, numbers or strings as UTC timestamps in microseconds.

    Parameters
    ----------
    column
        NULL is no time.
    name
        What the caller calls it, for the error.

    Raises
    ------
    DataError
        With the row's number, for what is no moment, or one outside of the years 1 to 9999, which Python
        could not read again.
    """
    found = _timestamps(column, name)
    ticks = pc.fill_null(found.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero((ticks < _FIRST) | (ticks > _LAST)):
        raise DataError(f"row {row}: {name} is outside of the years 1 to 9999")
    return found


def _timestamps(column: pa.Array, name: str) -> pa.Array:
    type_ = column.type
    if pa.types.is_null(type_):
        return column.cast(TIMESTAMP)
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        zoned = pa.types.is_timestamp(type_) and type_.tz is not None
        finer = pa.types.is_timestamp(type_) and type_.unit == "ns"  # what is below a microsecond is cut off
        try:
            return column.cast(TIMESTAMP if zoned else pa.timestamp("us"), safe=not finer).cast(TIMESTAMP)
        except pa.ArrowInvalid as error:
            raise DataError(f"{name} is outside of the years 1 to 9999: {error}") from error
    if isinstance(type_, pa.BaseExtensionType):
        raise DataError(f"{name} is a column of {type_}; use timestamps")
    return pa.array(
        [
            None if is_missing(value) else read_moment(value, f"row {row}: {name}")
            for row, value in enumerate(column.to_pylist())
        ],
        TIMESTAMP,
    )


def is_missing(value: object) -> bool:
    """Tell whether a value is None or the NaT or NA of pandas or NumPy; NaN is a number."""
    if value is None or type(value).__name__ in {"NaTType", "NAType"}:
        return True
    return isinstance(value, np.datetime64) and bool(np.isnat(value))


def read_moment(value: object, name: str) -> datetime:
    """Read one time; without a zone it is UTC.

    Parameters
    ----------
    value
        A datetime, a date, a text (what `parse_time` reads), or a number: seconds since 1970, and where these
        would be past the year 9999 milli-, micro- or nanoseconds.
    name
        What the caller calls it, for the error.

    Raises
    ------
    DataError
        When it is no time.
    """
    given = value
    try:
        if isinstance(value, np.datetime64):
            value = value.astype("datetime64[us]").item()
        elif isinstance(value, np.integer | np.floating):
            value = value.item()
        if isinstance(value, str):
            value = _from_text(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            seconds = not value > _LAST / 1e6
            value = datetime.fromtimestamp(value, timezone.utc) if seconds else parse_time(value)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        shown = repr(given)
        shown = shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"
        raise DataError(f"{name} is {shown}, which is not a time; use ISO 8601") from error
    raise DataError(f"{name} is a {type(given).__name__}; use ISO 8601 or a datetime")


def _from_text(text: str) -> datetime:
    if _ISO.match(text):
        try:
            # Python 3.10 reads neither the Z nor a date without its time.
            return datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
        except ValueError:
            pass
    return parse_time(text)


def json_object(value: object, row: int) -> str | None:
    """Return a metadata value as the text of a JSON object."""
    if value is None:
        return None
    try:
        if isinstance(value, list):  # an Arrow map
            value = dict(value)
        if isinstance(value, str):
            if not isinstance(json.loads(value, parse_constant=_refuse), dict):
                raise DataError(f"row {row}: metadata is JSON but not an object")
            return value
        if isinstance(value, Mapping):
            return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"row {row}: metadata is not JSON: {error}") from error
    raise DataError(f"row {row}: metadata is a {type(value).__name__}; give a mapping or a JSON object")


def _plain(value: object) -> object:
    """Return as JSON what is none by itself: NumPy's numbers, members, sets; times and such by their text."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("it holds bytes; decode them, or store them as media")
    if isinstance(value, date | time | timedelta | UUID | Decimal | PurePath):
        return str(value)
    raise TypeError(f"it holds a {type(value).__name__}, which JSON cannot")


def _refuse(constant: str) -> None:
    raise ValueError(f"it has no {constant}")


def text_of(value: object, name: str, row: int, *, words: bool = False) -> str | None:
    """Return what names something, an id or a path, as text; ``words`` must be text already.

    Raises
    ------
    DataError
        With the row's number, for what has no one text: bytes, fractions, truth values, collections.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    missing = value is None or is_missing(value)
    if missing or (isinstance(value, float) and isnan(value)):  # NaN is how pandas says that nothing is there
        return None
    if isinstance(value, str):
        return value
    number = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        # What pandas makes of a whole number in a column where another one is missing.
        value, number = int(value), True
    if not words and (isinstance(value, UUID | PurePath) or number):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise DataError(f"row {row}: {name!r} holds bytes, not text; decode them, or store them as media")
    raise DataError(f"row {row}: {name!r} is a {type(value).__name__}; give a text")
