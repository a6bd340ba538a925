from __future__ import annotations

import json
from datetime import date, datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.importers import FORMATS, Options, Row, Source, UnreadableError, read_path
from aios_db.importers.fields import memory_fields, parse_time
from aios_db.importers.formats import find_format, format_names
from aios_db.schema.errors import OperationalError, ProgrammingError

UTC = timezone.utc


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05+01:00", datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("2024-01-02 03:04", datetime(2024, 1, 2, 3, 4, tzinfo=UTC)),
        ("7:05 pm on 8 May, 2023", datetime(2023, 5, 8, 19, 5, tzinfo=UTC)),
        ("8 May 2023", datetime(2023, 5, 8, tzinfo=UTC)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1700000000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1700000000_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (date(2024, 1, 2), datetime(2024, 1, 2, tzinfo=UTC)),
        (datetime(2024, 1, 2), datetime(2024, 1, 2, tzinfo=UTC)),
    ],
)
def test_times(value, expected):
    assert parse_time(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "soon", True, None, float("nan"), 1e300, 1e21, [1], datetime.max.replace(tzinfo=timezone.min)],
)
def test_times_that_are_none(value):
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(value)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "has no text \\(its fields are none\\)"),
        ({"text": 5}, "text must be a string that is not blank; 'text' holds a int"),
        ({"text": "\0\t"}, "text must be a string"),
    ],
)
def test_fields_that_make_no_sense(record, reason):
    with pytest.raises(ValueError, match=reason):
        memory_fields(record)


def test_metadata_is_kept_and_merged():
    assert memory_fields({"text": "x", "session_id": 7})["session_id"] == "7"
    assert json.loads(memory_fields({"text": "x", "metadata": '{"a": 1}', "b": 2})["metadata"]) == {
        "a": 1,
        "b": 2,
    }
    assert json.loads(memory_fields({"text": "x", "metadata": "words"})["metadata"]) == {"metadata": "words"}
    assert json.loads(memory_fields({"text": "x", "metadata": {"a": 1}})["metadata"]) == {"a": 1}
    assert json.loads(memory_fields({"text": "x", "from": {"id": 1}})["metadata"]) == {"from": {"id": 1}}


def test_registry(tmp_path):
    assert len(set(format_names())) == len(FORMATS)
    (tmp_path / "a.txt").write_text('{"text": "x"}')
    source = Source(tmp_path / "a.txt", tmp_path)
    found = find_format(source)
    assert found is not None
    assert found.name == "text"
    assert [row.fields["text"] for row in read_path(tmp_path / "a.txt", "jsonl")] == ["x"]
    with pytest.raises(ProgrammingError, match="there is no format 'xml'; known are locomo, slack, facebook"):
        find_format(source, "xml")
    with pytest.raises(OperationalError, match="no such file"):
        list(read_path(tmp_path / "none"))


KEYS = "text role content messages mapping conversation session_1 message metadata timestamp title type ts id"
SUFFIXES = [
    *(".json", ".jsonl", ".csv", ".tsv", ".md", ".txt", ".log", ".html", ".eml", ".mbox", ".zip", ".parquet"),
    *(".arrow", ".feather", ".pdf", ".docx"),
]
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SUFFIXES), json_like | st.binary() | st.text())
def test_no_content_crashes_a_reader(tmp_path_factory, suffix, content):
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    try:
        records = list(read_path(path))
    except UnreadableError:
        return
    for record in records:
        assert record.location.startswith("a.")
        assert 0 <= record.progress <= 1
        if isinstance(record, Row):
            assert record.fields["text"].strip()


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"occurred_at": "nonsense"}, "occurred_at is not a time"),
        ({"timestamp": {"a": 1}}, "occurred_at is not a time"),
        ({"importance": "high"}, "importance must be a number"),
        ({"importance": 7}, "importance must be between 0 and 1"),
        ({"trust": -1}, "trust must be between 0 and 1"),
        ({"tier": "eternal"}, "tier must be one of short, long, archived"),
        ({"title": ["a"]}, "title must be text, not list"),
        ({"session_id": {"a": 1}}, "session_id must be text, not dict"),
        ({"kind": True}, "kind must be text, not bool"),
        ({"derived_from": "abc"}, "derived_from must be a list of memory ids"),
        ({"media": "abc"}, "media must be bytes"),
    ],
)
def test_a_bad_optional_value_costs_its_column_only(write, suffix, record, problem):
    (name, value) = next(iter(record.items()))
    line = {"text": "kept", **record}
    rows, rejected = write(f"a{suffix}", [line] if suffix == ".json" else json.dumps(line))
    assert not rejected
    assert rows[0].fields["text"] == "kept"
    assert name not in rows[0].fields
    assert json.loads(rows[0].fields["metadata"]) == {name: value}
    assert rows[0].problems == (problem,)


def test_missing_values_in_every_spelling_are_none(write):
    text = (
        '{"text": "x", "title": NaN, "importance": NaN, "occurred_at": null, "kind": "", "score": Infinity}'
    )
    rows, rejected = write("a.jsonl", text)
    assert (rows[0].problems, rejected) == ((), [])
    assert dict(rows[0].fields) == {"text": "x", "source": "a.jsonl", "metadata": '{"score": null}'}


def test_what_is_no_unicode_is_replaced(write):
    rows, rejected = write(
        "a.jsonl", r'{"text": "a\ud800b\u0000", "title": "\ud83d\ude00 \udc00", "x": ["\ud801"]}'
    )
    assert not rejected
    assert rows[0].fields["text"] == "a\ufffdb"
    assert rows[0].fields["title"] == "\U0001f600 \ufffd"
    assert json.loads(rows[0].fields["metadata"]) == {"x": ["\ufffd"]}


def test_a_number_of_5000_digits_costs_nothing(write):
    for name, content in (("a.json", '[{"text": "x", "n": %s}]'), ("a.jsonl", '{"text": "x", "n": %s}')):
        rows, rejected = write(name, content % ("1" * 5000))
        assert not rejected
        assert json.loads(rows[0].fields["metadata"]) == {"n": "1" * 5000}


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"text": "", "content": "x"}, "x"),
        ({"text": "  ", "body": "x"}, "x"),
        ({"content": None, "message": "x"}, "x"),
        ({"message": {"id": 1}, "value": "x"}, "x"),
        ({"Text": "x"}, "x"),
        ({"BODY": "x"}, "x"),
        ({"Page Content": "x"}, "x"),
        ({"pageContent": "x"}, "x"),
        ({"memory": "x"}, "x"),
        ({"content": "y", "text": "x"}, "x"),
    ],
)
def test_the_first_name_that_is_not_empty_gives_the_text(record, text):
    assert memory_fields(record)["text"] == text


@pytest.mark.parametrize("name", ["role", "author", "from", "name", "sender", "user", "Speaker", "userName"])
def test_names_of_speakers(name):
    assert memory_fields({"text": "x", name: "Ann"}) == {"text": "x", "speaker": "Ann"}


def test_mapping_names_the_fields(tmp_path):
    (tmp_path / "a.csv").write_text("Body,when,content\nthe text,2023-05-20,not this\n")
    options = Options(mapping={"text": "body", "occurred_at": "when", "title": "content"})
    (row,) = read_path(tmp_path / "a.csv", options=options)
    assert dict(row.fields) == {
        "text": "the text",
        "title": "not this",
        "occurred_at": datetime(2023, 5, 20, tzinfo=UTC),
        "source": "a.csv",
    }
    with pytest.raises(
        UnreadableError, match="has no column 'bdy' for text; its columns are Body, when, content"
    ):
        list(read_path(tmp_path / "a.csv", options=Options(mapping={"text": "bdy"})))


def test_csv_without_a_header(tmp_path):
    (tmp_path / "a.csv").write_text("Ann,hello there everyone,2023-05-20\nBo,and hello to you,2023-05-21\n")
    rows = list(read_path(tmp_path / "a.csv", options=Options(header=False)))
    assert [row.fields["text"] for row in rows] == ["hello there everyone", "and hello to you"]
    options = Options(header=False, mapping={"text": "2", "speaker": "1", "occurred_at": "3"})
    rows = list(read_path(tmp_path / "a.csv", options=options))
    assert [row.fields["speaker"] for row in rows] == ["Ann", "Bo"]
    assert rows[1].fields["occurred_at"] == datetime(2023, 5, 21, tzinfo=UTC)
    assert [row.location for row in rows] == ["a.csv:1", "a.csv:2"]


def test_csv_of_one_column_and_of_excel(write):
    assert [row.fields["text"] for row in write("a.csv", "Remarks\none\ntwo, too\n")[0]] == [
        "one",
        "two, too",
    ]
    rows, rejected = write("b.csv", '\ufeffsep=;\r\nText;Date\r\n"a\r\nb";45066\r\n')
    assert not rejected
    assert (rows[0].fields["text"], rows[0].fields["occurred_at"]) == (
        "a\r\nb",
        datetime(2023, 5, 20, tzinfo=UTC),
    )
    assert rows[0].location == "b.csv:3"


SAMPLES = {
    "utf-8": "Grüße, мир, 世界 😀",
    "utf-8-sig": "Grüße, мир, 世界 😀",
    "utf-16": "Grüße, мир, 世界 😀",
    "utf-32": "Grüße, мир, 世界 😀",
    "utf-16-le": "Notes of the trip to the sea",
    "utf-16-be": "Notes of the trip to the sea",
    "cp1252": "Käse, Brötchen – “süß”, Äpfel, Öl, Füße, schön",
    "cp1251": "Привет, как дела? Я приехал домой вчера",
    "gb18030": "你好，今天我们去公园散步，天气很好",
    "shift_jis": "こんにちは、今日は公園に行きました",
}


@pytest.mark.parametrize("encoding", SAMPLES)
@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".txt", ".md"])
def test_encodings_are_found_out(write, encoding, suffix):
    text = SAMPLES[encoding]
    content = {
        ".csv": f'text\n"{text}"\n',
        ".json": json.dumps([{"text": text}], ensure_ascii=False),
        ".jsonl": json.dumps({"text": text}, ensure_ascii=False) + "\n",
    }.get(suffix, text)
    rows, rejected = write(f"a{suffix}", content.encode(encoding))
    assert not rejected
    assert [row.fields["text"] for row in rows] == [text]


def test_the_user_knows_the_encoding_best(tmp_path):
    (tmp_path / "a.txt").write_bytes("Ä".encode("cp437"))
    (row,) = read_path(tmp_path / "a.txt", options=Options(encoding="cp437"))
    assert row.fields["text"] == "Ä"


def test_one_bad_byte_in_utf8_costs_one_character(write):
    rows, _ = write("a.jsonl", '{"text": "größer"}\n'.encode() + b'{"text": "caf\xe9 cr\xc3\xa8me"}\n')
    assert [row.fields["text"] for row in rows] == ["größer", "caf\ufffd crème"]
