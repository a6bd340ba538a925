"""Slack's export: a folder for each channel with a JSON file for each day, and the names in `users.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

from aios_db.importers.base import Format, Record, Skipped, Source
from aios_db.importers.messages import read_message

_LISTS = frozenset(
    {"users", "channels", "groups", "dms", "mpims", "integration_logs", "canvases", "lists", "org_users"}
)
_NOISE = frozenset({"thread_ts", "icons", "app_id", "parent_user_id"})
_LINK = re.compile(r"<(?P<mark>[@#!]?)(?P<target>[^<>|]+)(?:\|(?P<label>[^<>]*))?>")


def detect(source: Source) -> bool:
    """Return whether a JSON file is a day of a channel, or one of the lists beside the channels."""
    if source.suffix != ".json":
        return False
    if source.path.stem in _LISTS:
        return (source.path.parent / "users.json").is_file() and isinstance(source.document, list)
    document = source.document
    return isinstance(document, list) and any(map(_is_message, document))


def read(source: Source) -> Iterator[Record]:
    """Yield one record a message; joining, leaving and other events are skipped."""
    document = source.document
    if source.path.stem in _LISTS:
        yield Skipped(source.name, "a list of Slack's; names are taken from it")
        return
    channel = source.name.rpartition("/")[0] or source.path.parent.name
    names = _names(source.path.parent.parent) or _names(source.path.parent)
    for index, message in enumerate(document):
        location, progress = f"{source.name}[{index}]", (index + 1) / len(document)
        common = {"session_id": channel, "conversation": channel.rpartition("/")[2]}
        readable = _readable(message, names) if isinstance(message, Mapping) else message
        yield read_message(source, readable, common, location, progress)


def _is_message(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and value.get("type") == "message"
        and isinstance(value.get("ts"), str)
        and any(name in value for name in ("user", "bot_id", "subtype", "username"))
    )


def _readable(message: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a message with the names of people in place of their ids, and without Slack's marks."""

    def plain(match: re.Match[str]) -> str:
        target, label = match["target"], match["label"]
        if match["mark"] == "@":
            return "@" + (names.get(target) or label or target)
        if match["mark"] in {"#", "!"}:
            return match["mark"].replace("!", "@") + (label or target)
        return f"{label} ({target})" if label and label != target else target

    found = dict(message)
    profile = message.get("user_profile")
    known = _name_of(profile) if isinstance(profile, Mapping) else None
    speaker = known or names.get(str(message.get("user"))) or message.get("user") or message.get("username")
    found["name"] = str(speaker or message.get("bot_id") or "")
    found.pop("user", None)
    found["time"] = found.pop("ts", None)
    words = message.get("text")
    if not isinstance(words, str) or not words.strip():
        words = "\n".join(_lines(message.get("blocks"), names)) or "\n".join(_attached(message))
    found["text"] = unescape(_LINK.sub(plain, words))
    if message.get("subtype") in {"bot_message", "me_message", "thread_broadcast", "file_share"}:
        found.pop("subtype")
    if "subtype" in found:
        found["text"] = ""  # joined, left, renamed: nobody said it
    return {name: value for name, value in found.items() if name not in _NOISE}


def _lines(blocks: object, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the words of Block Kit's blocks, a line for each block or paragraph of rich text."""
    for block in blocks if isinstance(blocks, list) else []:
        if isinstance(block, Mapping):
            inner = block.get("elements")
            if block.get("type") in {"rich_text", "rich_text_list"}:
                yield from _lines(inner, names)
            elif line := "".join(_words(block, names)).strip():
                yield line


def _words(node: object, names: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _words(each, names)
    elif isinstance(node, Mapping):
        text, kind = node.get("text"), node.get("type")
        if isinstance(text, str):
            yield text if kind in {"text", "link"} else f"{text}\n"
        elif kind == "link":
            yield str(node.get("url", ""))
        elif kind == "user":
            user = str(node.get("user_id", ""))
            yield "@" + (names.get(user) or user)
        else:
            for name in ("text", "fields", "elements"):
                yield from _words(node.get(name), names)


def _attached(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words of attachments, in which integrations say what they have to say."""
    attachments = message.get("attachments")
    for each in attachments if isinstance(attachments, list) else []:
        if isinstance(each, Mapping):
            said = [each.get(name) for name in ("pretext", "title", "text")]
            fields = each.get("fields")
            for field in fields if isinstance(fields, list) else []:
                if isinstance(field, Mapping):
                    said.append(": ".join(str(field[name]) for name in ("title", "value") if field.get(name)))
            lines = [line for line in said if isinstance(line, str) and line.strip()]
            yield from lines or [str(each["fallback"])] * bool(each.get("fallback"))


@lru_cache(maxsize=8)
def _names(folder: Path) -> Mapping[str, str]:
    try:
        users = json.loads((folder / "users.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = [user for user in users if isinstance(user, Mapping)] if isinstance(users, list) else []
    return {str(user.get("id")): name for user in entries if (name := _name_of(user))}


def _name_of(user: Mapping[str, Any]) -> str | None:
    profile = user.get("profile")
    holders = [profile, user] if isinstance(profile, Mapping) else [user]
    for key in ("display_name", "real_name", "name"):
        for holder in holders:
            if isinstance(holder.get(key), str) and holder[key].strip():
                return str(holder[key]).strip()
    return None


SLACK = Format("slack", detect, read)
