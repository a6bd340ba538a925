"""Conversations of Facebook and Instagram: `message_1.json`, the newest first, in UTF-8 written twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios_db.importers.base import Format, Record, Rejected, Skipped, Source, shorten
from aios_db.importers.messages import read_message

_MEDIA = (
    "photos", "videos", "audio_files", "files", "gifs", "sticker", "share", "call_duration",
)  # fmt: skip


def detect(source: Source) -> bool:
    """Return whether a JSON file is a conversation of Facebook or Instagram."""
    return source.suffix == ".json" and any(map(_is_message, _messages(source.document)))


def read(source: Source) -> Iterator[Record]:
    """Yield one record a message, the oldest first; messages without words are skipped."""
    document = source.document
    messages = _messages(document)
    common = {
        "session_id": _mended(document.get("thread_path")) or source.name,
        "conversation": _mended(document.get("title")),
    }
    times: dict[str, int] = {}
    for number, message in enumerate(reversed(messages), start=1):
        progress = number / len(messages)
        if not _is_message(message):
            place = f"{source.name} message {len(messages) - number}"
            yield Rejected(place, "is not a message", shorten(message), progress)
            continue
        # A newer export has other messages above this one: its time is its place.
        time = str(message["timestamp_ms"])
        times[time] = times.get(time, 0) + 1
        location = f"{source.name} message {time}" + (f"/{times[time]}" if times[time] > 1 else "")
        words = _mended(message.get("content"))
        if message.get("is_unsent"):
            yield Skipped(location, "deleted", progress)
        elif not isinstance(words, str) or not words.strip():
            kind = next((name for name in _MEDIA if message.get(name)), None)
            reason = f"no words, only {kind.replace('_', ' ')}" if kind else "empty"
            yield Skipped(location, reason, progress)
        else:
            record = {
                "sender": _mended(message["sender_name"]),
                "content": words,
                "timestamp": message["timestamp_ms"],
            }
            yield read_message(source, record, common, location, progress)


def _messages(document: Any) -> list[Any]:
    messages = document.get("messages") if isinstance(document, Mapping) else None
    return messages if isinstance(messages, list) else []


def _is_message(value: object) -> bool:
    return (
        isinstance(value, Mapping) and isinstance(value.get("sender_name"), str) and "timestamp_ms" in value
    )


def _mended(text: Any) -> Any:
    """Return text whose UTF-8 was written as if each byte were a character, as it was meant."""
    try:
        return text.encode("latin-1").decode("utf-8") if isinstance(text, str) else text
    except UnicodeError:
        return text


FACEBOOK = Format("facebook", detect, read)
