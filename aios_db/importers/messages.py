"""One message of a chat: who said it, when, and the words in it, whatever the program that wrote it down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from aios_db.importers.base import Record, Rejected, Skipped, Source, shorten
from aios_db.importers.fields import find, synonyms
from aios_db.importers.records import make_record
from aios_db.times import parse_time

_ROLE = ("role", "from", "speaker", "author", "sender", "user", "username", "nickname", "actor")
_CONTENT = (
    "content", "text", "parts", "value", "body", "message", "contents", "Contents", "Content", "Text",
)  # fmt: skip
_TYPES = frozenset({"human", "ai", "user", "assistant", "system", "tool", "function", "chat"})
# Parts of a message that are no words: pictures, sounds, calls of tools, hidden reasoning, events.
_WORDLESS = frozenset(
    {
        "image", "image_url", "input_image", "image_file", "image_asset_pointer", "audio", "input_audio",
        "video", "file", "input_file", "document", "tool_use", "server_tool_use", "function_call",
        "custom_tool_call", "thinking", "redacted_thinking", "reasoning", "thoughts", "reasoning_recap",
        "service", "token_budget", "file_search_call", "web_search_call", "computer_call",
        "real_time_user_audio_video_asset_pointer", "audio_asset_pointer", "channel_join",
        "channel_leave", "functionCall", "inlineData", "fileData", "model_editable_context",
        "user_editable_context",
    }
)  # fmt: skip
# What a message without words may hold instead.
_CALLS = (
    "tool_calls", "function_call", "attachments", "files", "audio", "media_type", "file", "photo",
    "images", "Attachments", "sticker_emoji", "embeds", "stickers", "refusal",
)  # fmt: skip
# Bookkeeping of one program that says nothing about the message.
_NOISE = frozenset(
    {
        "weight", "recipient", "end_turn", "status", "channel", "update_time", "invalid_tool_calls", "lc",
        "type", "object", "assistant_id", "thread_id", "run_id", "annotations", "from_id",
        "edited_unixtime", "text_entities", "content", "role", "index", "logprobs",
        "finish_reason", "isSidechain", "additional_kwargs", "response_metadata", "kwargs", "parts",
        "children", "updated_at", "metadata", "blocks", "team", "user_team", "source_team",
        "client_msg_id", "user_profile", "example", "embeds", "reactions", "mentions", "isPinned",
        "callEndedTimestamp", "timestampEdited", "stickers", "inlineEmojis",
    }
)  # fmt: skip


def is_message(value: object) -> bool:
    """Return whether this is one message: a role or a name, and content."""
    if not isinstance(value, Mapping):
        return False
    inner = _flat(value)
    return (_role(inner) is not None and any(key in inner for key in _CONTENT)) or _is_event(inner)


def said_at(message: object) -> datetime | None:
    """Return when a message was said, None when it does not say."""
    if isinstance(message, Mapping):
        try:
            return parse_time(find(_flat(message), "occurred_at"))
        except ValueError:
            pass
    return None


def read_message(
    source: Source, message: object, common: Mapping[str, Any], location: str, progress: float
) -> Record:
    """Return one message as a record.

    Parameters
    ----------
    source, location, progress
        As for `make_record`.
    message
        What was read; a message without words is skipped, anything else that is no message is rejected.
    common
        ``session_id``, and the ``conversation``'s title and when it ``started``, for a message that does not
        say.
    """
    if not isinstance(message, Mapping):
        return Rejected(location, "is not a message", shorten(message), progress)
    flat = _flat(message)
    text, used = _words_of(flat, source.options.mapping)
    if not text.strip():
        if reason := _why_wordless(flat):
            return Skipped(location, reason, progress)
        shown = ", ".join(map(str, message)) or "none"
        return Rejected(location, f"has no text (its fields are {shown})", shorten(message), progress)
    speaker, role_field = _speaker(flat)
    rest = {
        name: value
        for name, value in flat.items()
        if name not in _NOISE and name not in {used, role_field} and not _is_bulky(value)
    }
    others = {name: rest.pop(name) for name in _CONTENT if isinstance(rest.get(name), str)}
    for name in _ROLE:  # a structure whose name is the speaker's
        if isinstance(rest.get(name), Mapping):
            del rest[name]
    role = flat.get("role")
    metadata = flat.get("metadata")
    record = {
        **rest,
        "text": text,
        "speaker": speaker,
        "session_id": rest.pop("session_id", None) or common["session_id"],
        "kind": "message",
        "metadata": {
            **({"conversation": common["conversation"]} if common.get("conversation") else {}),
            **({"role": role} if isinstance(role, str) and role != speaker else {}),
            **(metadata if isinstance(metadata, Mapping) and _is_small(metadata) else {}),
            **{name: value for name, value in others.items() if value.strip() and value != text},
        },
    }
    if find(record, "occurred_at") is None and common.get("started") is not None:
        record["occurred_at"] = common["started"]
    place = f"{common['session_id']} {location.rpartition(' ')[2]}"
    return make_record(source, record, location, progress, place=place, original=message)


def words(content: object) -> str:
    """Return the words in the content of a message: text, parts of text, or objects that hold text."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        if _kind(content) in _WORDLESS:
            return ""
        for name in ("parts", "text", "value", "content", "output", "transcript", "result"):
            if found := words(content.get(name)):
                return found
        return ""
    if isinstance(content, list):
        inline = any(isinstance(part, str) for part in content) and any(
            isinstance(part, Mapping) for part in content
        )  # Telegram's text: strings with links and mentions between them
        return ("" if inline else "\n").join(filter(None, map(words, content)))
    return ""


def _flat(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message without its wrapping: LangChain's ``data`` and ``kwargs``, ``{"message": {…}}``."""
    for name in ("data", "kwargs", "message"):
        inner = message.get(name)
        if isinstance(inner, Mapping) and any(key in inner for key in _CONTENT):
            outer = {key: value for key, value in message.items() if key != name}
            kept = {key: value for key, value in inner.items() if value not in (None, "", [], {})}
            if name == "kwargs" and isinstance(outer.get("id"), list):
                kind = str((outer.pop("id") or [""])[-1])
                outer["role"] = kind.removesuffix("Chunk").removesuffix("Message").lower()
            return {**outer, **inner, **kept}
    return message


def _role(message: Mapping[str, Any]) -> Any:
    found = next((message[name] for name in _ROLE if message.get(name) not in (None, "")), None)
    if found is None and _kind(message) in _TYPES:
        return message["type"]
    return found


def _is_event(message: Mapping[str, Any]) -> bool:
    """Return whether this is a message of Telegram or Slack that nobody said."""
    return _kind(message) in {"service", "message"} and any(
        name in message for name in ("actor", "from_id", "ts", "bot_id")
    )


def _speaker(message: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return who said it, and the field that says so."""
    if isinstance(message.get("name"), str) and message["name"].strip():
        return message["name"], "name"
    for name in (*_ROLE, *(["type"] if _kind(message) in _TYPES else [])):
        author = message.get(name)
        if isinstance(author, Mapping):
            known = ("nickname", "global_name", "display_name", "real_name", "name", "username", "role", "id")
            author = next((author[key] for key in known if author.get(key)), None)
        if isinstance(author, (str, int)) and author != "":
            return str(author), name
    return None, None


def _words_of(message: Mapping[str, Any], mapping: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the words of a message and the field that holds them: the first that is not empty."""
    names = [mapping["text"]] if "text" in mapping else [*_CONTENT, *_named(message)]
    for name in names:
        if (found := words(message.get(name))).strip():
            return found, name
    return "", None


def _named(message: Mapping[str, Any]) -> Iterator[str]:
    wanted = synonyms("text")
    return (name for name in message if str(name).replace("_", "").casefold() in wanted)


def _why_wordless(message: Mapping[str, Any]) -> str | None:
    """Return why a message may well have no words; None when it should have some."""
    if message.get("type") == "service" or message.get("subtype"):
        return "an event, not a message"
    for name in _CALLS:
        if message.get(name):
            return f"no words, only {name.replace('_', ' ').lower()}"
    kinds = list(_kinds(message.get("content", message.get("parts"))))
    if kinds and all(kind in _WORDLESS for kind in kinds):
        return f"no words, only {kinds[0].replace('_', ' ')}"
    if _kind(message) in _WORDLESS:
        return f"no words, only {_kind(message).replace('_', ' ')}"
    if all(not words(value) and _is_blank(value) for name, value in message.items() if name in _CONTENT):
        return "empty"
    return None


def _kinds(content: object) -> Iterator[str]:
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, Mapping):
            yield _kind(part) or next((str(name) for name in part if name in _WORDLESS), "unknown")


def _kind(part: Mapping[str, Any]) -> str:
    kind = part.get("type") or part.get("content_type")
    return kind if isinstance(kind, str) else ""


def _is_blank(content: object) -> bool:
    if isinstance(content, str):
        return not content.strip()
    if isinstance(content, Mapping):
        known = ("parts", "text", "value", "content", "type", "content_type")
        return all(name in known for name in content) and all(
            _is_blank(value) for name, value in content.items() if name not in {"type", "content_type"}
        )
    return content is None or (isinstance(content, list) and all(map(_is_blank, content)))


def _is_bulky(value: object) -> bool:
    return isinstance(value, (list, Mapping)) and len(str(value)) > 2000


def _is_small(value: Mapping[str, Any]) -> bool:
    return len(value) <= 8 and not any(isinstance(each, (Mapping, list)) for each in value.values())
