from __future__ import annotations

import json
from datetime import date, datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.importers import FORMATS, Row, Source, UnreadableError, read_path
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
    ["", "soon", True, None, float("nan"), 1e300, 1e18, [1], datetime.max.replace(tzinfo=timezone.min)],
)
def test_times_that_are_none(value):
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(value)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "has no text \\(its fields are none\\)"),
        ({"text": "x", "importance": "high"}, "importance must be a number"),
        ({"text": "x", "title": ["a"]}, "title must be text, not list"),
        ({"text": "\ud800"}, "not UTF-8"),
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
    assert len(set(format_names())) == len(FORMATS) == 9
    (tmp_path / "a.txt").write_text('{"text": "x"}')
    source = Source(tmp_path / "a.txt", tmp_path)
    found = find_format(source)
    assert found is not None
    assert found.name == "text"
    assert [row.fields["text"] for row in read_path(tmp_path / "a.txt", "jsonl")] == ["x"]
    with pytest.raises(ProgrammingError, match="there is no format 'xml'; known are locomo, chat"):
        find_format(source, "xml")
    with pytest.raises(OperationalError, match="no such file"):
        list(read_path(tmp_path / "none"))


KEYS = "text role content messages mapping conversation session_1 parent message metadata timestamp title"
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([".json", ".jsonl", ".csv", ".md", ".txt"]), json_like | st.binary() | st.text())
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
