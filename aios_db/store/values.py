"""Single values as callers write them: moments in time and JSON objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timezone

import pyarrow as pa

from aios_db.schema.errors import DataError
from aios_db.schema.memories import TIMESTAMP


def timestamps(column: pa.Array) -> pa.Array:
    """Return a column of dates, timestamps, numbers or strings as UTC timestamps in microseconds."""
    type_ = column.type
    if pa.types.is_null(type_) or (pa.types.is_timestamp(type_) and type_.tz is not None):
        return column.cast(TIMESTAMP, safe=False)
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return column.cast(pa.timestamp("us"), safe=False).cast(TIMESTAMP)
    values = column.to_pylist()
    return pa.array(
        [None if value is None else moment(value, row) for row, value in enumerate(values)], TIMESTAMP
    )


def moment(value: object, row: int) -> datetime:
    """Read one timestamp; without a zone it is UTC."""
    try:
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
        raise DataError(f"row {row}: occurred_at is {value!r}: {error}; use ISO 8601") from error
    raise DataError(f"row {row}: occurred_at is a {type(value).__name__}; use ISO 8601 or a datetime")


def json_object(value: object, row: int) -> str | None:
    """Return a metadata value as the text of a JSON object."""
    if value is None:
        return None
    if isinstance(value, list):  # an Arrow map
        value = dict(value)
    try:
        if isinstance(value, str):
            if not isinstance(json.loads(value), dict):
                raise DataError(f"row {row}: metadata is JSON but not an object")
            return value
        if isinstance(value, Mapping):
            return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except (ValueError, RecursionError) as error:
        raise DataError(f"row {row}: metadata is not JSON: {error}") from error
    raise DataError(f"row {row}: metadata is a {type(value).__name__}; give a mapping or a JSON object")
