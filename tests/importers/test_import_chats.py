from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

import aios_db
from aios_db.importers import Row, Skipped, import_files, read_path

UTC = timezone.utc


def texts(rows):
    return [row.fields["text"] for row in rows]


def test_chat_as_a_list_of_messages(write):
    rows, rejected = write(
        "talk.json",
        [
            {"role": "system", "content": "Be kind."},
            {
                "role": "user",
                "name": "Ada",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url"}],
            },
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "assistant", "content": "b", "created_at": "2024-05-01T10:00:00+02:00"},
        ],
    )
    assert not rejected
    assert [(row.fields["speaker"], row.fields["text"]) for row in rows] == [
        ("system", "Be kind."),
        ("Ada", "a"),
        ("assistant", "b"),
    ]
    assert {row.fields["session_id"] for row in rows} == {"talk.json"}
    assert {row.fields["kind"] for row in rows} == {"message"}
    assert rows[2].fields["occurred_at"] == datetime(2024, 5, 1, 8, tzinfo=UTC)


def test_chat_with_an_id_a_title_and_a_start(write):
    chat = {
        "id": 17,
        "title": "Boats",
        "created_at": "2024-05-01",
        "messages": [{"role": "user", "content": "x"}],
    }
    rows, _ = write("a.json", chat)
    (fields,) = (row.fields for row in rows)
    assert fields["session_id"] == "17"
    assert fields["occurred_at"] == datetime(2024, 5, 1, tzinfo=UTC)
    assert json.loads(fields["metadata"]) == {"conversation": "Boats"}


def test_chat_array_of_conversations_and_sharegpt_spelling(write):
    messages = [
        {"role": "user", "content": "s"},
        "junk",
        {"role": "user", "content": "t", "timestamp": "?"},
    ]
    rows, rejected = write(
        "a.json",
        [
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]},
            "junk",
            {"messages": messages},
        ],
    )
    assert texts(rows) == ["q", "r", "s", "t"]
    assert [row.fields["session_id"] for row in rows] == ["a.json:0", "a.json:0", "a.json:2", "a.json:2"]
    assert [row.fields["speaker"] for row in rows] == ["human", "gpt", "user", "user"]
    assert [record.location for record in rejected] == [
        "a.json[1]",
        "a.json[2] message 2",
    ]
    assert rows[3].problems == ("occurred_at is not a time",)
    assert json.loads(rows[3].fields["metadata"]) == {"timestamp": "?"}


def test_chatgpt_export_takes_the_current_branch(write):
    def node(parent, role=None, text=None):
        message = role and {
            "author": {"role": role},
            "content": {"parts": [text]},
            "create_time": 1700000000.5,
        }
        return {"message": message, "parent": parent, "children": []}

    mapping = {
        "root": node(None),
        "a": node("root", "user", "first"),
        "b": node("a", "assistant", "discarded"),
        "c": node("a", "assistant", "kept"),
    }
    export = [{"conversation_id": "x", "title": "T", "mapping": mapping, "current_node": "c"}]
    rows, rejected = write("conversations.json", export)
    assert not rejected
    assert [(row.fields["speaker"], row.fields["text"]) for row in rows] == [
        ("user", "first"),
        ("assistant", "kept"),
    ]
    assert rows[0].fields["occurred_at"].microsecond == 500_000

    mapping["a"]["parent"] = "c"  # a circle, as no program writes it
    del export[0]["current_node"]
    rows, _ = write("circle.json", export)
    assert sorted(texts(rows)) == ["first", "kept"]
    mapping["c"] = 3
    rows, rejected = write("number.json", export)
    assert (rows, len(rejected)) == ([], 1)


def sample(**extra):
    return {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ann",
            "session_10_date_time": "9:05 am on 1 June, 2023",
            "session_10": [{"speaker": "Ann", "dia_id": "D10:1", "text": "later"}],
            "session_2_date_time": "1:56 pm on 8 May, 2023",
            "session_2": [
                {
                    "speaker": "Ann",
                    "dia_id": "D2:1",
                    "text": "Look!",
                    "blip_caption": "a dog",
                    "img_url": ["http://x"],
                },
                {"speaker": "Bob", "text": "Nice"},
            ],
            **extra,
        },
    }


def test_locomo_turns_in_the_order_of_sessions(write):
    rows, rejected = write("l.json", [sample()])
    assert not rejected
    assert texts(rows) == ["Ann: Look! [shares image: a dog]", "Bob: Nice", "Ann: later"]
    assert dict(rows[0].fields) == {
        "kind": "message",
        "text": "Ann: Look! [shares image: a dog]",
        "media_uri": "http://x",
        "session_id": "session_2",
        "user_id": "conv-1",
        "speaker": "Ann",
        "occurred_at": datetime(2023, 5, 8, 13, 56, tzinfo=UTC),
        "source": "l.json",
        "metadata": '{"dia_id": "D2:1"}',
    }
    assert rows[2].location == "l.json[0] session_10 turn 1"


def test_locomo_bad_turns_and_samples(write):
    bad = sample(
        session_3=[{"text": "no speaker"}, {"speaker": "Ann"}, 3], session_4="x", session_5_date_time="x"
    )
    rows, rejected = write("l.json", [bad, {"qa": []}])
    assert len(rows) == 3
    assert [(record.location, record.reason) for record in rejected] == [
        ("l.json[0] session_3 turn 1", "has no speaker"),
        ("l.json[0] session_3 turn 2", "has no text"),
        ("l.json[0] session_3 turn 3", "has no speaker"),
        ("l.json[0] session_4", "is not a list of turns"),
        ("l.json[1]", "is not a conversation with sessions"),
    ]


def test_locomo_one_sample_without_an_id_is_scoped_by_the_file(write):
    single = sample()
    del single["sample_id"]
    rows, _ = write("mine.json", single)
    assert {row.fields["user_id"] for row in rows} == {"mine"}


LOCOMO = Path(__file__).resolve().parents[3] / "shared/data/locomo_dev/locomo3.json"


@pytest.mark.skipif(not LOCOMO.exists(), reason="LoCoMo is not part of the repository")
def test_locomo_itself():
    records = list(read_path(LOCOMO))
    assert len(records) == 1451
    assert all(isinstance(record, Row) and "occurred_at" in record.fields for record in records)
    assert sum("[shares image: " in record.fields["text"] for record in records) == 319


def test_messages_off_the_current_branch_are_counted_as_skipped(tmp_path):
    def node(parent, role, text):
        return {"parent": parent, "message": {"author": {"role": role}, "content": {"parts": [text]}}}

    mapping = {
        "root": {"parent": None, "message": None, "children": ["q"]},
        "q": node("root", "user", "Hi plan trip"),
        "old": node("q", "assistant", "Old answer"),
        "older": node("old", "user", "A question under it"),
        "empty": {"parent": "q", "message": None},
        "new": node("q", "assistant", "New answer"),
    }
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([{"id": "c", "mapping": mapping, "current_node": "new"}]))
    records = list(read_path(path))
    assert texts(each for each in records if isinstance(each, Row)) == ["Hi plan trip", "New answer"]
    skipped = [each for each in records if isinstance(each, Skipped)]
    assert [each.location.rpartition(" ")[2] for each in skipped] == ["old", "older"]
    assert {each.reason for each in skipped} == {"not on the branch that was continued"}
    with aios_db.connect(tmp_path / "a.aios") as con:
        report = import_files(con, [path])
    assert (report.read, report.stored, report.skipped) == (4, 2, 2)
