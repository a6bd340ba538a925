"""From a foreign record to the fields of a memory: names, times, and everything else into `metadata`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from types import MappingProxyType
from typing import Any

from aios_db.schema.memories import WRITABLE

# Other programs' words for our columns. A record's own column wins over a synonym.
SYNONYMS = MappingProxyType(
    {
        "text": ("content", "body", "message", "value", "document", "passage"),
        "speaker": ("role", "author", "from", "sender", "name"),
        "session_id": ("session", "conversation_id", "thread_id", "chat_id"),
        "occurred_at": ("timestamp", "created_at", "create_time", "date", "datetime", "time"),
        "title": ("subject", "heading"),
        "source": ("url", "uri"),
    }
)
_NUMBERS = ("importance", "trust")
_TEXTS = frozenset(WRITABLE) - {
    "media", "text_embedding", "occurred_at", "derived_from", "metadata", *_NUMBERS,
}  # fmt: skip
_VECTORS = ("embedding", "vector", "embeddings")  # of unknown models; the text is embedded anew


def memory_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the memory that a record describes.

    Raises
    ------
    ValueError
        When the record has no text or a field has a value that makes no sense; says which.
    """
    rest = {key: value for key, value in record.items() if value is not None and value != ""}
    fields: dict[str, Any] = {column: rest.pop(column) for column in WRITABLE if column in rest}
    for column, names in SYNONYMS.items():
        for name in names:
            if column not in fields and _fits(column, rest.get(name)):
                fields[column] = rest.pop(name)
    for name in _VECTORS:
        rest.pop(name, None)
    _check(fields, known=[*record])
    if extra := {**_mapping(fields.get("metadata")), **rest}:
        fields["metadata"] = json.dumps(extra, ensure_ascii=False, default=str)
    return fields


def parse_time(value: object) -> datetime:
    """Return a time in UTC from ISO 8601, a date, or seconds, milli- or microseconds since 1970.

    A time without a zone is taken as UTC.
    """
    if isinstance(value, str):
        value = _parse_time_text(value.strip())
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        for limit, unit in ((1e11, 1), (1e14, 1e3), (math.inf, 1e6)):
            if abs(value) < limit:
                try:
                    return datetime.fromtimestamp(value / unit, timezone.utc)
                except (OverflowError, OSError, ValueError):
                    break
    elif isinstance(value, datetime):
        try:
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
        except OverflowError:
            pass
    elif isinstance(value, date):
        return datetime.combine(value, time(), timezone.utc)
    raise ValueError(f"is not a time: {value!r}")


def _parse_time_text(text: str) -> object:
    for pattern in ("%I:%M %p on %d %B, %Y", "%d %B %Y", "%B %d, %Y", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S"):
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _fits(column: str, value: object) -> bool:
    # A `from` or `message` may be a structure of its own; then it is metadata.
    return value is not None and (column == "occurred_at" or isinstance(value, str))


def _check(fields: dict[str, Any], known: list[str]) -> None:
    text = fields.get("text")
    if text is None:
        raise ValueError(f"has no text (its fields are {', '.join(map(str, known)) or 'none'})")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("text must be a string that is not blank")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("text holds bytes that are not UTF-8")
    if "occurred_at" in fields:
        try:
            fields["occurred_at"] = parse_time(fields["occurred_at"])
        except ValueError as error:
            raise ValueError(f"occurred_at {error}") from None
    for column in _NUMBERS:
        if column in fields:
            try:
                fields[column] = float(fields[column])
            except (TypeError, ValueError):
                raise ValueError(f"{column} must be a number, not {fields[column]!r}") from None
    for column in _TEXTS & fields.keys():
        if isinstance(fields[column], (int, float)):
            fields[column] = str(fields[column])
        elif not isinstance(fields[column], str):
            raise ValueError(f"{column} must be text, not {type(fields[column]).__name__}")


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {"metadata": value}
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {"metadata": value}
