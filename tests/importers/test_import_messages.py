"""Shapes of messages: each says one thing, and nothing is dropped without a word."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from aios_db.importers import Skipped, read_path

UTC = timezone.utc

SHAPES = {
    "plain": {"role": "user", "content": "hello"},
    "parts": {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    "openai threads": {"role": "user", "content": [{"type": "text", "text": {"value": "hello"}}]},
    "openai responses": {"role": "user", "content": [{"type": "output_text", "text": "hello"}]},
    "openai input": {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
    "chatgpt": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hello"]}},
    "choice": {"index": 0, "message": {"role": "user", "content": "hello"}, "finish_reason": "stop"},
    "empty content": {"role": "user", "content": "", "text": "hello"},
    "blank content": {"role": "user", "content": "  \n", "text": "hello"},
    "null content": {"role": "user", "content": None, "text": "hello"},
    "empty list": {"role": "user", "content": [], "text": "hello"},
    "empty text in part": {"role": "user", "content": [{"type": "text", "text": ""}], "text": "hello"},
    "claude export": {"sender": "user", "text": "", "content": [{"type": "text", "text": "hello"}]},
    "with a picture": {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "hello"}]},
    "with thinking": {"role": "user", "content": [{"type": "thinking"}, {"type": "text", "text": "hello"}]},
    "tool result": {"role": "user", "content": [{"type": "tool_result", "content": "hello"}]},
    "gemini": {"role": "user", "parts": [{"text": "hello"}]},
    "sharegpt": {"from": "user", "value": "hello"},
    "langchain": {"type": "user", "data": {"content": "hello", "additional_kwargs": {}}},
    "langchain flat": {"type": "user", "content": "hello"},
    "langchain serialised": {
        "lc": 1, "type": "constructor", "id": ["schema", "UserMessage"], "kwargs": {"content": "hello"},
    },
    "wrapped": {"type": "user", "message": {"role": "user", "content": "hello"}, "timestamp": "2023-05-20"},
    "telegram": {"id": 1, "type": "message", "from": "user", "text": ["hel", {"type": "bold", "text": "lo"}]},
    "discord": {"id": "1", "type": "Default", "author": {"id": "7", "name": "user"}, "content": "hello"},
    "message": {"sender": "user", "message": "hello"},
    "body": {"author": "user", "body": "hello"},
    "capital": {"author": "user", "Content": "hello"},
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("holder", ["list", "messages", "lines", "line of messages"])
def test_no_shape_of_a_message_is_dropped(write, shape, holder):
    message = SHAPES[shape]
    name, content = {
        "list": ("a.json", [message]),
        "messages": ("a.json", {"messages": [message]}),
        "lines": ("a.jsonl", json.dumps(message)),
        "line of messages": ("a.jsonl", json.dumps({"messages": [message]})),
    }[holder]
    rows, rejected = write(name, content)
    assert not rejected
    assert [(row.fields["speaker"], row.fields["text"]) for row in rows] == [("user", "hello")]
    assert rows[0].fields["session_id"].startswith("a.json")


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        ({"contents": [{"role": "user", "parts": [{"text": "a"}]}]}, "a"),
        ({"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}]}, "a"),
        ({"output": [{"type": "reasoning"}, {"type": "message", "role": "assistant", "content": "a"}]}, "a"),
        ({"response": {"body": {"choices": [{"message": {"role": "assistant", "content": "a"}}]}}}, "a"),
        ({"chats": {"list": [{"name": "x", "id": 4, "messages": [{"from": "A", "text": "a"}]}]}}, "a"),
        ({"conversations": [{"messages": [{"role": "user", "content": "a"}]}]}, "a"),
        ({"object": "list", "data": [
            {"role": "assistant", "content": [{"text": {"value": "b"}}], "created_at": 1700000001},
            {"role": "user", "content": [{"text": {"value": "a"}}], "created_at": 1700000000},
        ]}, "ab"),
        ([{"uuid": "c1", "name": "n", "chat_messages": [{"sender": "human", "text": "a"}]}], "a"),
    ],
)  # fmt: skip
def test_holders_of_messages(write, document, texts):
    rows, rejected = write("a.json", document)
    assert not rejected
    assert "".join(row.fields["text"] for row in rows) == texts


def test_messages_without_words_are_counted_with_the_reason(write, tmp_path):
    rows, rejected = write(
        "a.json",
        [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "t"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            {"role": "user", "content": ""},
            {"role": "user", "content": {"shape": "unknown", "utterances": ["hello"]}},
        ],
    )
    assert [row.fields["text"] for row in rows] == ["q"]
    skipped = [record for record in read_path(tmp_path / "a.json") if isinstance(record, Skipped)]
    assert [(record.location, record.reason) for record in skipped] == [
        ("a.json message 2", "no words, only tool calls"),
        ("a.json message 3", "no words, only tool use"),
        ("a.json message 4", "no words, only image url"),
        ("a.json message 5", "empty"),
    ]
    assert [record.location for record in rejected] == ["a.json message 6"]
    assert rejected[0].reason == "has no text (its fields are role, content)"


def test_what_else_a_message_says_is_kept(write):
    message = {
        "role": "assistant", "name": "Bo", "content": "hi", "model": "m-1", "text": "other",
        "ts": "1700000000.000100", "user_id": "u", "importance": 7,
    }  # fmt: skip
    rows, _ = write("a.json", {"title": "T", "messages": [message]})
    fields = rows[0].fields
    assert (fields["speaker"], fields["text"], fields["user_id"]) == ("Bo", "hi", "u")
    assert fields["occurred_at"] == datetime(2023, 11, 14, 22, 13, 20, 100, tzinfo=UTC)
    assert json.loads(fields["metadata"]) == {
        "conversation": "T", "role": "assistant", "model": "m-1", "text": "other", "importance": 7,
    }  # fmt: skip
    assert rows[0].problems == ("importance must be between 0 and 1",)


def test_files_of_equal_names_in_two_folders_have_sessions_of_their_own(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "chat.json").write_text(json.dumps([{"role": "user", "content": "x"}]))
        (tmp_path / folder / "chat.jsonl").write_text(
            json.dumps({"messages": [{"role": "user", "content": "x"}]})
        )
    sessions = [row.fields["session_id"] for row in read_path(tmp_path)]
    assert len(set(sessions)) == 4
