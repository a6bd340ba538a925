"""Exports of messengers, vector stores and memory layers, and rows of fine-tuning sets."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

import aios_db
from aios_db.importers import Skipped, import_files, read_path

UTC = timezone.utc


def said(rows):
    return [(row.fields["speaker"], row.fields["text"]) for row in rows]


def test_facebook_messages_in_order_and_in_utf8(tmp_path, write):
    bad = "Zoë".encode().decode("latin-1")
    messages = [
        {"sender_name": "Ann", "timestamp_ms": 1684620903000, "is_unsent": True, "content": "gone"},
        {"sender_name": "Ann", "timestamp_ms": 1684620902000, "photos": [{"uri": "a.jpg"}]},
        {"sender_name": bad, "timestamp_ms": 1684620901000, "content": "caf\u00c3\u00a9 \u00e2\u009c\u0093"},
        {
            "sender_name": "Ann",
            "timestamp_ms": 1684620900000,
            "content": "Hello",
            "reactions": [{"actor": "b"}],
        },
    ]
    content = {
        "participants": [{"name": bad}],
        "title": bad,
        "thread_path": "inbox/zoe_1",
        "messages": messages,
    }
    rows, rejected = write("message_1.json", content)
    assert not rejected
    assert said(rows) == [("Ann", "Hello"), ("Zoë", "café ✓")]
    assert rows[0].fields["occurred_at"] == datetime(2023, 5, 20, 22, 15, tzinfo=UTC)
    assert {row.fields["session_id"] for row in rows} == {"inbox/zoe_1"}
    skipped = [each.reason for each in read_path(tmp_path / "message_1.json") if isinstance(each, Skipped)]
    assert skipped == ["no words, only photos", "deleted"]
    with aios_db.connect(tmp_path / "a.aios") as con:
        assert import_files(con, [tmp_path / "message_1.json"]).stored == 2
        newer = {"sender_name": "Ann", "timestamp_ms": 1684620999000, "content": "Bye"}
        write("message_1.json", {**content, "messages": [newer, *messages]})
        report = import_files(con, [tmp_path / "message_1.json"])
        assert (report.stored, report.replaced) == (1, 0)


def test_chroma_documents_with_their_metadata(write):
    content = {
        "ids": ["a", "b", "c"],
        "documents": ["The key is under the pot.", "Bo bakes rye.", None],
        "metadatas": [{"speaker": "Ann", "page": 3}, None, {}],
        "embeddings": None,
    }
    rows, rejected = write("get.json", content)
    assert [row.fields["text"] for row in rows] == ["The key is under the pot.", "Bo bakes rye."]
    assert [row.place for row in rows] == ["id a", "id b"]
    assert rows[0].fields["speaker"] == "Ann"
    assert json.loads(rows[0].fields["metadata"])["page"] == 3
    assert len(rejected) == 1
    nested = {name: [value] for name, value in content.items() if value}
    assert [row.fields["text"] for row in write("query.json", nested)[0]] == [
        row.fields["text"] for row in rows
    ]


def test_mem0_memories(write):
    memory = {"id": "m1", "memory": "Likes tea", "user_id": "ada", "created_at": "2024-05-01T10:00:00-07:00"}
    for name, content in (
        ("a.json", {"results": [memory], "relations": [{"source": "x"}]}),
        ("b.json", [memory]),
    ):
        rows, rejected = write(name, content)
        assert not rejected
        assert (rows[0].fields["text"], rows[0].fields["user_id"]) == ("Likes tea", "ada")
        assert rows[0].fields["occurred_at"] == datetime(2024, 5, 1, 17, tzinfo=UTC)


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize(
    ("pair", "question"),
    [
        ({"prompt": "Why?", "completion": "So."}, "Why?"),
        ({"prompt": "Why?", "response": "So."}, "Why?"),
        ({"instruction": "Why?", "input": "", "output": "So."}, "Why?"),
        ({"instruction": "Why?", "input": "the sky", "output": "So."}, "Why?\n\nthe sky"),
        ({"question": "Why?", "answer": "So."}, "Why?"),
        (
            {
                "prompt": [{"role": "user", "content": "Why?"}],
                "completion": [{"role": "assistant", "content": "So."}],
            },
            "Why?",
        ),
    ],
)
def test_a_question_and_its_answer_are_two_turns(write, suffix, pair, question):
    content = json.dumps(pair) + "\n" if suffix == ".jsonl" else [pair]
    rows, rejected = write(f"a{suffix}", content)
    assert not rejected
    assert said(rows) == [("user", question), ("assistant", "So.")]
    assert len({row.fields["session_id"] for row in rows}) == 1
