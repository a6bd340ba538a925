"""From a foreign record to the fields of a memory: names, times, and everything else into `metadata`.

Only the text is needed. Any other value that makes no sense moves into the metadata, with a word about it,
and the memory is kept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

from aios_db.joint.media import media_type_of
from aios_db.schema.memories import WRITABLE
from aios_db.schema.tiers import TIERS
from aios_db.times import parse_time

# Other programs' words for our columns, for every reader, the likeliest first. Case, spaces and underscores
# make no difference: `createdAt`, `Created at` and `created_at` are one. A record's own column wins.
SYNONYMS = MappingProxyType(
    {
        "text": (
            "content", "contents", "body", "message", "msg", "value", "document", "passage", "page_content",
            "memory", "fact", "note", "utterance", "transcript", "comment", "description",
        ),
        "speaker": (
            "role", "author", "from", "sender", "name", "user", "username", "user_name", "author_name",
            "sender_name", "from_name", "nickname", "nick", "participant",
        ),
        "session_id": (
            "session", "conversation_id", "conversation", "thread_id", "thread_ts", "thread", "chat_id",
            "chat", "channel_id", "channel", "dialogue_id", "dialog_id", "room_id", "room",
        ),
        "agent_id": ("agent", "assistant_id"),
        "occurred_at": (
            # Seconds say exactly when, where a `date` beside them may be local.
            "date_unixtime", "timestamp_ms", "created_utc",
            "timestamp", "created_at", "create_time", "date", "datetime", "date_time", "time", "ts",
            "created", "sent_at", "sent", "date_sent", "sent_time", "when", "published_at", "published",
            "posted_at", "date_created", "created_time", "creation_date", "time_created", "time_stamp",
            "event_time", "updated_at", "modified",
        ),
        "title": ("subject", "heading", "headline"),
        "source": ("url", "uri", "link"),
    }
)  # fmt: skip
_OPTIONAL = tuple(column for column in WRITABLE if column not in {"text", "metadata"})
_VECTORS = frozenset({"embedding", "vector", "embeddings"})  # of unknown models; the text is embedded anew
_CLOCK = re.compile(r"\s*\d{1,2}:\d\d")
_SURROGATE = re.compile("[\ud800-\udfff]")

Problem = Callable[[str, str], None]
"""Told the column and what was wrong with its value."""


def memory_fields(
    record: Mapping[str, Any],
    *,
    mapping: Mapping[str, str] = MappingProxyType({}),
    moment: Callable[[object], datetime] = parse_time,
    problem: Problem = lambda column, reason: None,
) -> dict[str, Any]:
    """Return the fields of the memory that a record describes.

    Parameters
    ----------
    record
        Names and values as they were read.
    mapping
        The user's word for which field is which column, by column.
    moment
        Gives the time that a value names, as `parse_time` does.
    problem
        Called for each optional value that made no sense and is kept in the metadata instead.

    Raises
    ------
    ValueError
        When the record has no text.
    """
    rest = {name: value for name, value in record.items() if not _is_empty(value)}
    names = _Names(rest, mapping)
    checks = {**_CHECKS, "occurred_at": moment}
    fields: dict[str, Any] = {"text": _text(rest, names)}
    for column in _OPTIONAL:
        refused = None
        for name in names.of(column):
            value = _with_clock(name, rest, names) if column == "occurred_at" else rest[name]
            try:
                fields[column] = checks.get(column, _label)(value)
            except ValueError as error:
                # `from` may be a structure of its own, `time` a duration: then these are metadata.
                if names.is_own(column, name) or (column == "occurred_at" and not refused):
                    refused = str(error)
            else:
                del rest[name]
                break
        if refused and column not in fields:
            problem(column, refused)
    _take_media(fields, rest)
    for name in [name for name in rest if _folded(name) in _VECTORS]:
        del rest[name]
    described = [rest.pop(name) for name in names.of("metadata")]
    if extra := {**_mapping(next(iter(described), None)), **rest}:
        try:
            fields["metadata"] = json.dumps(_plain(extra), ensure_ascii=False, default=str)
        except RecursionError:
            problem("metadata", "is nested too deeply to be kept")
    return fields


@cache
def synonyms(column: str) -> tuple[str, ...]:
    """Return the names under which a column is looked for, folded, the likeliest first."""
    return tuple(dict.fromkeys(_folded(name) for name in (column, *SYNONYMS.get(column, ()))))


def means(name: str, column: str) -> bool:
    """Return whether a foreign name stands for a column."""
    return _folded(name) in synonyms(column)


def find(record: Mapping[str, Any], column: str) -> Any:
    """Return the first value of a record that is not empty, of those that the synonyms of a column name."""
    names = _Names({name: value for name, value in record.items() if not _is_empty(value)}, {})
    return next((record[name] for name in names.of(column)), None)


def clean(text: str) -> str:
    """Return text without NUL, and with U+FFFD for what is no Unicode."""
    if "\0" in text:
        text = text.replace("\0", "")
    if _SURROGATE.search(text):  # pairs of them are a character each
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class _Names:
    """Which names of a record stand for which column."""

    def __init__(self, record: Mapping[str, Any], mapping: Mapping[str, str]) -> None:
        self._mapping = mapping
        self._taken = frozenset(mapping.values())
        self._record = record
        self._by_folded: dict[str, list[str]] = {}
        for name in record:
            self._by_folded.setdefault(_folded(name), []).append(name)

    def of(self, column: str) -> list[str]:
        """Return the names still in the record that stand for a column, the first choice first."""
        if column in self._mapping:
            wanted = self._mapping[column]
            return [name for name in self._by_folded.get(_folded(wanted), ()) if name in self._record]
        own = [column] if column in self._record else []
        words = (name for word in synonyms(column) for name in self._by_folded.get(word, ()))
        others = (name for name in words if name in self._record and name not in self._taken)
        return list(dict.fromkeys([*own, *others]))

    def is_own(self, column: str, name: str) -> bool:
        """Return whether the name can mean nothing but the column."""
        return _folded(name) == _folded(column) or column in self._mapping


@lru_cache(maxsize=4096)
def _folded(name: object) -> str:
    return re.sub(r"[\s_\-.]+", "", str(name)).casefold()


def _is_empty(value: object) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _text(rest: dict[str, Any], names: _Names) -> str:
    candidates = names.of("text")
    for name in candidates:
        # A `message` may be a structure of its own; then it is metadata.
        if isinstance(rest[name], str) and (text := clean(rest[name])).strip():
            del rest[name]
            return text
    if candidates:
        found = type(rest[candidates[0]]).__name__
        raise ValueError(f"text must be a string that is not blank; {candidates[0]!r} holds a {found}")
    shown = ", ".join(map(str, rest)) or "none"
    raise ValueError(f"has no text (its fields are {shown})")


def _with_clock(name: str, rest: dict[str, Any], names: _Names) -> object:
    """Return a field's value; of a date, together with the time of day that another field holds."""
    value = rest[name]
    if _folded(name) == "date" and isinstance(value, (str, date)) and ":" not in str(value):
        for other in names.of("occurred_at"):
            if _folded(other) == "time" and _CLOCK.match(str(rest[other])):
                return f"{value} {rest.pop(other)}"
    return value


def _label(value: object) -> str:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"must be text, not {type(value).__name__}")


def _share(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("must be a number") from None
    if not 0 <= number <= 1:
        raise ValueError("must be between 0 and 1")
    return number


def _tier(value: object) -> str:
    if isinstance(value, str) and value.strip().lower() in TIERS:
        return value.strip().lower()
    raise ValueError(f"must be one of {', '.join(TIERS)}")


def _vector(value: Any) -> list[float]:
    try:
        numbers = [float(number) for number in value]
    except (TypeError, ValueError, OverflowError):
        raise ValueError("must be a list of numbers") from None
    if not numbers or not all(map(math.isfinite, numbers)) or not any(numbers):
        raise ValueError("must be a vector with a direction")
    return numbers


def _media(value: object) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise ValueError("must be bytes")


def _medium(value: object) -> bytes | str:
    """Check the bytes of a picture or sound, or a path or URI that is named like one."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str) and media_type_of(None, value):
        return clean(value)
    raise ValueError("must be bytes, or the path of a picture or sound")


def _take_media(fields: dict[str, Any], rest: dict[str, Any]) -> None:
    """Move what ``image`` and ``audio`` give into the columns that it is stored in, as `remember` does."""
    if not fields.keys() & {"media", "media_uri"} and "image" in rest:
        try:
            given = _medium(rest["image"])
        except ValueError:
            pass
        else:
            fields["media" if isinstance(given, bytes) else "media_uri"] = given
            del rest["image"]
    if isinstance(fields.get("audio"), str):
        sound = fields.pop("audio")
        fields.setdefault("audio_uri", sound)


def _ids(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return [clean(each) for each in value]
    raise ValueError("must be a list of memory ids")


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


_CHECKS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "importance": _share,
        "trust": _share,
        "tier": _tier,
        "text_embedding": _vector,
        "media": _media,
        "audio": _medium,
        "derived_from": _ids,
        "valid_until": parse_time,
        "expires_at": parse_time,
        "pinned": _truth,
    }
)


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"metadata": value}
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {"metadata": value}


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: NaN and infinity are null, names are text, and text is Unicode."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return clean(str(value)) if not isinstance(value, (int, float, type(None))) else value
