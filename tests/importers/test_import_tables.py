from __future__ import annotations

import json
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aios_db.importers import Source, UnreadableError, read_path
from aios_db.importers.formats import find_format

UTC = timezone.utc


def texts(rows):
    return [row.fields["text"] for row in rows]


def test_jsonl_columns_synonyms_and_the_rest_as_metadata(write):
    rows, rejected = write(
        "a.jsonl",
        '\ufeff{"text": "one", "title": "T", "session_id": "s", "importance": ".5", "mood": 1}\n'
        "\n"
        '{"content": "two", "role": "user", "time": 1700000000, "thread_id": "t", "embedding": [1, 2]}\n',
    )
    assert not rejected
    assert [row.location for row in rows] == ["a.jsonl:1", "a.jsonl:3"]
    first, second = (dict(row.fields) for row in rows)
    assert json.loads(first.pop("metadata")) == {"mood": 1}
    assert first == {"text": "one", "title": "T", "session_id": "s", "importance": 0.5, "source": "a.jsonl"}
    assert second == {
        "text": "two",
        "speaker": "user",
        "session_id": "t",
        "occurred_at": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        "source": "a.jsonl",
    }


def test_jsonl_bad_lines_are_set_aside_with_their_number(write):
    rows, rejected = write(
        "a.jsonl",
        b'{"text": "ok"}\n{"text": \n[1]\n{"text": ""}\n{"title": "x"}\n{"text": 5}\nnull\n{"text": "end"}',
    )
    assert texts(rows) == ["ok", "end"]
    assert [(record.location, record.reason.split(":")[0]) for record in rejected] == [
        ("a.jsonl:2", "is not JSON"),
        ("a.jsonl:3", "is a list, not an object with fields"),
        ("a.jsonl:4", "has no text (its fields are none)"),
        ("a.jsonl:5", "has no text (its fields are title)"),
        ("a.jsonl:6", "text must be a string that is not blank; 'text' holds a int"),
        ("a.jsonl:7", "is a NoneType, not an object with fields"),
    ]
    assert rejected[0].content == '{"text": \n'
    assert rows[-1].progress == 1.0


def test_jsonl_of_conversations(write):
    line = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    rows, rejected = write("train.jsonl", "\n".join([json.dumps(line), json.dumps(line)]))
    assert not rejected
    assert texts(rows) == ["hi", "hello"] * 2
    assert [row.fields["session_id"] for row in rows] == ["train.jsonl:1"] * 2 + ["train.jsonl:2"] * 2
    assert rows[3].location == "train.jsonl:2 message 2"


def test_deep_nesting_is_one_bad_line(write):
    rows, rejected = write("a.jsonl", "[" * 100_000 + '\n{"text": "ok"}\n')
    assert texts(rows) == ["ok"]
    assert len(rejected) == 1
    assert rejected[0].content == "[" * 100_000 + "\n"


def test_json_array_of_rows(write):
    rows, rejected = write("a.json", [{"text": "one"}, 7, {"body": "two"}])
    assert texts(rows) == ["one", "two"]
    assert [(record.location, record.content) for record in rejected] == [("a.json[1]", "7")]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[" * 100_000])
def test_json_that_cannot_be_read_names_the_file(write, content):
    with pytest.raises(UnreadableError, match=r"a\.json"):
        write("a.json", content)


def test_json_of_no_known_shape_is_not_recognised(tmp_path):
    (tmp_path / "a.json").write_text('{"settings": 1}')
    assert find_format(Source(tmp_path / "a.json", tmp_path)) is None


def test_csv_with_quotes_line_breaks_and_line_numbers(write):
    rows, rejected = write(
        "a.csv", 'text,speaker,occurred_at\n"two\nlines",Ann,2024-01-02\nb,,\n"c, d",Bob,nonsense\n'
    )
    assert not rejected
    assert texts(rows) == ["two\nlines", "b", "c, d"]
    assert rows[0].fields["occurred_at"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert [row.location for row in rows] == ["a.csv:2", "a.csv:4", "a.csv:5"]
    assert "speaker" not in rows[1].fields
    assert rows[2].problems == ("occurred_at is not a time",)
    assert json.loads(rows[2].fields["metadata"]) == {"occurred_at": "nonsense"}


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ";"), ("a.csv", "|"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_csv_finds_its_delimiter(write, name, mark):
    rows, rejected = write(name, f"speaker{mark}text\nAnn{mark}hello, you\n")
    assert not rejected
    assert (rows[0].fields["speaker"], rows[0].fields["text"]) == ("Ann", "hello, you")


def test_csv_rows_with_too_many_cells_keep_them_all(write):
    rows, rejected = write("a.csv", "text,title\nok,1\na,b,c,\n,,\nalso ok\n")
    assert not rejected
    assert texts(rows) == ["ok", "a", "also ok"]
    assert json.loads(rows[1].fields["metadata"]) == {"cells": ["c"]}
    assert rows[1].problems == ("cells without a column",)
    rows, _ = write("b.csv", "who,text\nAnn,one, two\n")
    assert texts(rows) == ["one, two"]


def test_csv_empty(write):
    assert write("a.csv", "") == ([], [])


def test_parquet(write):
    table = pa.table(
        {
            "text": ["a", None, "c"],
            "occurred_at": pa.array([1, 2, 3], pa.timestamp("us", tz="UTC")),
            "text_embedding": pa.array([[1.0, 0.0], None, None], pa.list_(pa.float32())),
            "tags": [["x"], [], ["y"]],
        }
    )
    rows, rejected = write("a.parquet", table)
    assert texts(rows) == ["a", "c"]
    assert rows[0].fields["text_embedding"] == [1.0, 0.0]
    assert json.loads(rows[1].fields["metadata"]) == {"tags": ["y"]}
    assert [record.location for record in rejected] == ["a.parquet:2"]


def test_parquet_damaged(write, tmp_path):
    with pytest.raises(UnreadableError, match=r"a\.parquet: is not a Parquet file"):
        write("a.parquet", b"PAR1 nothing PAR1")
    table = pa.table({"text": ["hello world"] * 50_000, "n": list(range(50_000))})
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=10_000, compression="zstd")
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    (tmp_path / "b.parquet").write_bytes(data)
    read = []
    with pytest.raises(UnreadableError, match=r"b\.parquet:\d+: cannot be read further"):
        read.extend(record.location for record in read_path(tmp_path / "b.parquet"))


def test_parquet_dates_that_python_cannot_hold_are_kept_as_text(write):
    table = pa.table(
        {
            "text": ["a", "b", "c", "d"],
            "occurred_at": pa.array([1, 2**31 - 1, 2, 3], pa.date32()),
            "seen": pa.array([0, 0, 0, 2**60], pa.timestamp("us")),
        }
    )
    rows, rejected = write("a.parquet", table)
    assert not rejected
    assert texts(rows) == ["a", "b", "c", "d"]
    assert [bool(row.problems) for row in rows] == [False, True, False, False]
    assert "2147483647" in json.loads(rows[1].fields["metadata"])["occurred_at"]
    assert "seen" in json.loads(rows[3].fields["metadata"])


def test_jsonl_of_nothing_but_a_byte_order_mark_is_empty(write):
    assert write("a.jsonl", b"\xef\xbb\xbf") == ([], [])
