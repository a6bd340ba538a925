"""Single values as callers write them: moments in time and JSON objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIMESTAMP

_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 and 9999 in microseconds


def timestamps(column: pa.Array) -> pa.Array:
    """Return a column of dates, timestamps, numbers or strings as UTC timestamps in microseconds.

    Raises
    ------
    DataError
        With the row's number, for what is no moment, or one outside of the years 1 to 9999, which Python
        could not read again.
    """
    found = _timestamps(column)
    ticks = pc.fill_null(found.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero((ticks < _FIRST) | (ticks > _LAST)):
        raise DataError(f"row {row}: occurred_at is outside of the years 1 to 9999")
    return found


def _timestamps(column: pa.Array) -> pa.Array:
    type_ = column.type
    if pa.types.is_null(type_):
        return column.cast(TIMESTAMP)
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        zoned = pa.types.is_timestamp(type_) and type_.tz is not None
        finer = pa.types.is_timestamp(type_) and type_.unit == "ns"  # what is below a microsecond is cut off
        try:
            return column.cast(TIMESTAMP if zoned else pa.timestamp("us"), safe=not finer).cast(TIMESTAMP)
        except pa.ArrowInvalid as error:
            raise DataError(f"occurred_at is outside of the years 1 to 9999: {error}") from error
    if isinstance(type_, pa.BaseExtensionType):
        raise DataError(f"occurred_at is a column of {type_}; use timestamps")
    return pa.array(
        [None if is_missing(value) else moment(value, row) for row, value in enumerate(column.to_pylist())],
        TIMESTAMP,
    )


def is_missing(value: object) -> bool:
    """Tell whether a value is None or the NaT or NA of pandas or NumPy; NaN is a number."""
    if value is None or type(value).__name__ in {"NaTType", "NAType"}:
        return True
    return isinstance(value, np.datetime64) and bool(np.isnat(value))


def moment(value: object, row: int) -> datetime:
    """Read one timestamp; without a zone it is UTC."""
    given = value
    try:
        if isinstance(value, np.datetime64):
            value = value.astype("datetime64[us]").item()
        elif isinstance(value, np.integer | np.floating):
            value = value.item()
        if isinstance(value, str):
            # Python 3.10 reads neither the Z nor a date without its time.
            value = datetime.fromisoformat(value.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            value = datetime.fromtimestamp(value, timezone.utc)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(f"row {row}: occurred_at is {given!r}: {error}; use ISO 8601") from error
    raise DataError(f"row {row}: occurred_at is a {type(given).__name__}; use ISO 8601 or a datetime")


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
            return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"row {row}: metadata is not JSON: {error}") from error
    raise DataError(f"row {row}: metadata is a {type(value).__name__}; give a mapping or a JSON object")


def _refuse(constant: str) -> None:
    raise ValueError(f"it has no {constant}")
