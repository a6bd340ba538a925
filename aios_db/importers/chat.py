"""Chat exports: messages with a role and content, in the shapes assistants write them.

- ``[{"role": "user", "content": "…"}, …]``, one conversation;
- ``{"messages": […]}``, with ``id``, ``title`` and ``created_at`` when they are there, or an array of these;
- ``{"conversations": [{"from": "human", "value": "…"}]}``, ShareGPT's spelling;
- an array of ``{"title", "mapping": {id: {"message", "parent", "children"}}, "current_node"}``, ChatGPT's
  export: the branch that ends in the current node is the conversation.

One memory a message; ``session_id`` is the conversation's id, or its file and place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios_db.importers.base import Format, Record, Rejected, Row, Source, shorten
from aios_db.importers.fields import memory_fields

_TURNS = ("messages", "conversations", "mapping")
_ROLE = ("role", "from", "speaker", "author")
_CONTENT = ("content", "value", "text")


def is_message(value: object) -> bool:
    """Return whether this is one message: a role and content."""
    return (
        isinstance(value, Mapping)
        and _first(value, _ROLE) is not None
        and any(key in value for key in _CONTENT)
    )


def is_conversation(value: object) -> bool:
    """Return whether this is one conversation with its messages."""
    if not isinstance(value, Mapping):
        return False
    turns = _first(value, _TURNS)
    return isinstance(turns, Mapping) or (isinstance(turns, list) and any(map(is_message, turns)))


def detect(source: Source) -> bool:
    """Return whether a JSON file holds conversations or messages."""
    if source.suffix != ".json":
        return False
    document = source.document
    if isinstance(document, list):
        return any(is_message(item) or is_conversation(item) for item in document)
    return is_conversation(document)


def read(source: Source) -> Iterator[Record]:
    """Yield one record a message of every conversation in a JSON file."""
    document, stem = source.document, source.path.stem
    if is_conversation(document):
        yield from read_conversation(source, document, stem, source.name, 1.0)
    elif any(map(is_conversation, document)):
        for index, conversation in enumerate(document):
            location, progress = f"{source.name}[{index}]", (index + 1) / len(document)
            if is_conversation(conversation):
                yield from read_conversation(source, conversation, f"{stem}:{index}", location, progress)
            else:
                yield Rejected(location, "is not a conversation", shorten(conversation), progress)
    else:
        yield from read_conversation(source, {"messages": document}, stem, source.name, 1.0)


def read_conversation(
    source: Source, conversation: Mapping[str, Any], name: str, location: str, progress: float
) -> Iterator[Record]:
    """Yield one record a message; ``name`` is the session's when the conversation has no id."""
    session = str(_first(conversation, ("id", "conversation_id", "session_id")) or name)
    started = _first(conversation, ("created_at", "create_time", "timestamp", "date"))
    title = _first(conversation, ("title", "name"))
    for index, message in enumerate(_turns(conversation)):
        where = f"{location} message {index + 1}"
        if not isinstance(message, Mapping):
            yield Rejected(where, "is not a message", shorten(message), progress)
            continue
        text = _text(_first(message, _CONTENT))
        if not text.strip():
            continue  # a tool call, a picture without words: nothing to remember
        record = {
            "text": text,
            "speaker": _speaker(message),
            "session_id": session,
            "occurred_at": _first(message, ("occurred_at", "timestamp", "created_at", "create_time"))
            or started,
            "kind": "message",
            "source": source.name,
            "metadata": {"conversation": title} if title else None,
        }
        try:
            yield Row(memory_fields(record), where, progress)
        except ValueError as error:
            yield Rejected(where, str(error), shorten(message), progress)


def _turns(conversation: Mapping[str, Any]) -> list[Any]:
    turns = _first(conversation, _TURNS)
    return _branch(conversation, turns) if isinstance(turns, Mapping) else list(turns or ())


def _branch(conversation: Mapping[str, Any], nodes: Mapping[str, Any]) -> list[Any]:
    node_id: Any = conversation.get("current_node")
    if node_id not in nodes:  # the last node written is the end of the newest branch
        node_id = next(reversed(list(nodes)), None)
    messages: list[Any] = []
    seen = set()
    while node_id in nodes and node_id not in seen:
        seen.add(node_id)
        node = nodes[node_id]
        if not isinstance(node, Mapping):
            messages.append(node)
            break
        if node.get("message") is not None:
            messages.append(node["message"])
        node_id = node.get("parent")
    return messages[::-1]


def _speaker(message: Mapping[str, Any]) -> str | None:
    author = message.get("name") or _first(message, _ROLE)
    if isinstance(author, Mapping):
        author = author.get("name") or author.get("role")
    return None if author is None else str(author)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(
        content, Mapping
    ):  # {"content_type": "text", "parts": […]} or {"type": "text", "text": "…"}
        return _text(content.get("parts", content.get("text")))
    if isinstance(content, list):
        return "\n".join(filter(None, map(_text, content)))
    return ""


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


CHAT = Format("chat", detect, read)
