"""Chat exports in JSON: messages with a role and content, in the shapes that assistants and messengers write.

- ``[{"role": "user", "content": "…"}, …]``, one conversation, or ``{"messages": […]}`` with ``id``, ``title``
  and ``created_at`` when they are there, or an array of these;
- ``{"conversations": [{"from": "human", "value": "…"}]}``, ShareGPT's spelling; Claude's ``chat_messages``,
  Gemini's ``contents``, the ``choices``, ``output`` and ``data`` of OpenAI's answers;
- an array of ``{"title", "mapping": {id: {"message", "parent", "children"}}, "current_node"}``, ChatGPT's
  export: the branch that ends in the current node is the conversation, messages off it are skipped;
- the exports of Telegram (``chats.list``) and Discord.

One memory a message (`aios_db.importers.messages`); ``session_id`` is the conversation's id, or its file
and place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from aios_db.importers.base import Format, Record, Rejected, Skipped, Source, shorten
from aios_db.importers.fields import find
from aios_db.importers.messages import is_message, read_message, said_at

_TURNS = (
    "messages", "conversations", "mapping", "chat_messages", "contents", "turns", "conversation", "dialogue",
    "dialog", "history", "choices", "output", "input", "data",
)  # fmt: skip
# Where exports put their conversations, or an answer its messages.
_HOLDERS = ("chats", "list", "conversations", "response", "body", "data", "thread", "threads", "channels")
_DEEPEST = 4


def is_conversation(value: object) -> bool:
    """Return whether this is one conversation with its messages."""
    return isinstance(value, Mapping) and _turns_of(value) is not None


def detect(source: Source) -> bool:
    """Return whether a JSON file holds conversations or messages."""
    if source.suffix != ".json":
        return False
    document = source.document
    if isinstance(document, list) and any(map(is_message, document)):
        return True
    return next(_conversations(document, "", 0), None) is not None


def read(source: Source) -> Iterator[Record]:
    """Yield one record a message of every conversation in a JSON file."""
    document, name = source.document, source.name
    if isinstance(document, list) and any(map(is_message, document)):
        yield from read_conversation(source, {"messages": document}, name, name, 1.0)
        return
    if isinstance(document, list):
        found: list[tuple[str, Any]] = []
        for index, item in enumerate(document):
            found += list(_conversations(item, f"[{index}]", 0)) or [(f"[{index}]", None)]
    else:
        found = list(_conversations(document, "", 0))
    for number, (place, conversation) in enumerate(found, start=1):
        progress = number / len(found)
        if conversation is None:
            content = document[int(place[1:-1])]
            yield Rejected(f"{name}{place}", "is not a conversation", shorten(content), progress)
        else:
            session = name + place.replace("[", ":").replace("]", "")
            yield from read_conversation(source, conversation, session, f"{name}{place}", progress)


def read_conversation(
    source: Source, conversation: Mapping[str, Any], name: str, location: str, progress: float
) -> Iterator[Record]:
    """Yield one record a message; ``name`` is the session's when the conversation has no id."""
    about = {key: value for key, value in conversation.items() if key not in _TURNS}
    own = next(
        (about[key] for key in ("id", "conversation_id", "session_id", "uuid") if about.get(key)), None
    )
    channel = about.get("channel")
    if isinstance(channel, Mapping):
        own, about = own or channel.get("id"), {**channel, **about}
    title = next(
        (about[key] for key in ("title", "name") if isinstance(about.get(key), str) and about[key]), None
    )
    common = {
        "session_id": str(own or name),
        "conversation": title,
        "started": find(about, "occurred_at"),
    }
    for index, message in enumerate(_in_order(_turns(conversation)), start=1):
        yield read_message(source, message, common, f"{location} message {index}", progress)
    for node in _off_branch(conversation):
        yield Skipped(f"{location} message {node}", "not on the branch that was continued", progress)


def _conversations(value: Any, place: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the conversations in a document with where they are."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _conversations(item, f"{place}[{index}]", depth + 1)
    elif is_conversation(value):
        yield place, value
    elif isinstance(value, Mapping):
        for holder in _HOLDERS:
            if isinstance(value.get(holder), (list, Mapping)):
                yield from _conversations(value[holder], place, depth + 1)


def _turns_of(conversation: Mapping[str, Any]) -> Any:
    """Return the messages of a conversation, a list or ChatGPT's tree; None when there are none."""
    for name in _TURNS:
        turns = conversation.get(name)
        if isinstance(turns, list) and any(map(is_message, turns)):
            return turns
        if name == "mapping" and isinstance(turns, Mapping):
            return turns
    return None


def _turns(conversation: Mapping[str, Any]) -> list[Any]:
    turns = _turns_of(conversation)
    if not isinstance(turns, Mapping):
        return list(turns or ())
    found = [turns[node] for node in _branch(conversation, turns)]
    return [node["message"] if isinstance(node, Mapping) else node for node in found if _is_said(node)]


def _off_branch(conversation: Mapping[str, Any]) -> list[str]:
    """Return the nodes of ChatGPT's tree whose messages were asked or answered anew, in the file's order."""
    turns = _turns_of(conversation)
    if not isinstance(turns, Mapping):
        return []
    branch = set(_branch(conversation, turns))
    return [node for node, content in turns.items() if node not in branch and _is_said(content)]


def _is_said(node: Any) -> bool:
    return not isinstance(node, Mapping) or node.get("message") is not None


def _branch(conversation: Mapping[str, Any], nodes: Mapping[str, Any]) -> list[str]:
    """Return the nodes from the root to the current one."""
    node_id: Any = conversation.get("current_node")
    if not isinstance(node_id, str) or node_id not in nodes:
        node_id = next(reversed(list(nodes)), None)  # the last node written is the end of the newest branch
    branch: dict[str, None] = {}
    while isinstance(node_id, str) and node_id in nodes and node_id not in branch:
        branch[node_id] = None
        node = nodes[node_id]
        node_id = node.get("parent") if isinstance(node, Mapping) else None
    return list(branch)[::-1]


def _in_order(messages: list[Any]) -> list[Any]:
    """Return messages that were listed from the newest to the oldest in the order they were said."""
    times = [said_at(message) for message in messages]
    known = [time for time in times if time is not None]
    falling = len(known) > 1 and all(later < earlier for earlier, later in pairwise(known))
    return messages[::-1] if falling and len(known) == len(messages) else messages


CHAT = Format("chat", detect, read)
