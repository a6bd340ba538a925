from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.store.identity import content_hashes, first_of_each
from aios_db.store.rows import normalise
from aios_db.store.tables import table_from

DAY = datetime(2023, 5, 8, tzinfo=timezone.utc)


def normal(rows: object, dimension: int = 2) -> pa.Table:
    return normalise(table_from(rows), dimension)


def test_mappings_tables_and_frames_say_the_same() -> None:
    rows = [{"text": "a", "importance": 0.25}, {"text": "b", "importance": 0.75, "speaker": "Ann"}]
    expected = normal(rows)
    for given_rows in (
        pa.Table.from_pylist(rows),
        pa.RecordBatch.from_pylist(rows),
        pd.DataFrame(rows),
        pl.DataFrame(rows),
    ):
        found = normal(given_rows)
        assert found["text"].to_pylist() == ["a", "b"]
        assert found["importance"].equals(expected["importance"])


@dataclass
class Note:
    text: str
    speaker: str | None = None


@pytest.mark.parametrize(
    "rows",
    [
        ["a", "b"],
        ("a", {"text": "b"}),
        ({"text": each} for each in "ab"),
        iter(["a", "b"]),
        {"a": 1, "b": 2}.keys(),
        [Note("a"), Note("b", "Ada")],
        (Note(each) for each in "ab"),
    ],
)
def test_texts_mappings_and_dataclasses_come_in_anything_that_yields_them(rows: object) -> None:
    assert normal(rows)["text"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize("rows", ["text", b"text", 5, None, [("text", "a")], {"text": "a"}, [None]])
def test_anything_else_is_refused(rows: object) -> None:
    with pytest.raises(ProgrammingError, match=r"mapping"):
        table_from(rows)


def test_an_unknown_column_is_named_with_the_known_ones() -> None:
    with pytest.raises(ProgrammingError, match=r"'txet'.*text.*metadata"):
        table_from([{"txet": "a"}])
    with pytest.raises(ProgrammingError, match="memory_id"):
        normal(pa.table({"memory_id": ["x"], "text": ["a"]}))
    with pytest.raises(ProgrammingError, match="twice"):
        normal(pa.table([["a"], ["b"]], names=["text", "text"]))


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2023-05-08", DAY),
        ("2023-05-08T00:00:00Z", DAY),
        ("2023-05-08 02:00:00+02:00", DAY),
        (date(2023, 5, 8), DAY),
        (datetime(2023, 5, 8), DAY),
        (datetime(2023, 5, 8, 1, tzinfo=timezone(timedelta(hours=1))), DAY),
        (DAY.timestamp(), DAY),
        (int(DAY.timestamp()), DAY),
    ],
)
def test_a_moment_is_utc_however_it_is_written(value: object, moment: datetime) -> None:
    assert normal([{"text": "a", "occurred_at": value}])["occurred_at"].to_pylist() == [moment]
    column = pa.table({"text": ["a"], "occurred_at": [value]})
    assert normalise(column, 2)["occurred_at"].to_pylist() == [moment]


@pytest.mark.parametrize("value", ["yesterday", 1e30, float("nan"), True, [1], ""])
def test_what_is_no_moment_is_refused_with_its_row(value: object) -> None:
    with pytest.raises(DataError, match="row 1: occurred_at"):
        normal([{"text": "a"}, {"text": "b", "occurred_at": value}])


def test_metadata_becomes_a_json_object() -> None:
    found = normal(
        [{"text": "a", "metadata": {"x": [1, "ü"]}}, {"text": "b", "metadata": '{"y": 2}'}, {"text": "c"}]
    )
    assert [each and json.loads(each) for each in found["metadata"].to_pylist()] == [
        {"x": [1, "ü"]},
        {"y": 2},
        None,
    ]
    as_struct = pa.table({"text": ["a"], "metadata": [{"x": 1}]})
    assert json.loads(normal(as_struct)["metadata"][0].as_py()) == {"x": 1}
    as_map = pa.table({"text": ["a"], "metadata": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))})
    assert json.loads(normal(as_map)["metadata"][0].as_py()) == {"k": 1}


@pytest.mark.parametrize("value", ["{", "[1]", 5, {"x": float("nan")}])
def test_metadata_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="row 0: metadata"):
        normal([{"text": "a", "metadata": value}])


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0], "row 1: text_embedding has 1 numbers; this database stores 2"),
        ([1.0, 2.0, 3.0], "row 1: text_embedding has 3 numbers"),
        ([float("nan"), 1.0], "row 1: text_embedding holds NaN"),
        ([1.0, float("inf")], "row 1: text_embedding holds NaN"),
        ([1e-310, 0.0], "row 1: text_embedding is too small"),
        ([None, 1.0], "row 1: text_embedding holds NaN"),
        ([0.0, 0.0], "row 1: text_embedding is a vector of zeros"),
    ],
)
def test_a_wrong_vector_is_refused_with_its_row(vector: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        normal([{"text": "a", "text_embedding": [1.0, 0.0]}, {"text": "b", "text_embedding": vector}])


@pytest.mark.parametrize("type_", [pa.float16(), pa.float32(), pa.float64(), pa.int8()])
@pytest.mark.parametrize("list_", [pa.list_, pa.large_list, lambda type_: pa.list_(type_, 2)])
def test_vectors_of_any_numeric_list_become_unit_float32(type_: pa.DataType, list_: object) -> None:
    raw = np.array([3, 4, 0, 5], type_.to_pandas_dtype())
    column = pa.array([raw[:2], None, raw[2:]], list_(type_))  # type: ignore[operator]
    found = normal(pa.table({"text": ["a", "b", "c"], "text_embedding": column}))["text_embedding"]
    assert found.type == pa.list_(pa.float32(), 2)
    assert found[1].as_py() is None
    np.testing.assert_allclose([found[0].as_py(), found[2].as_py()], [[0.6, 0.8], [0, 1]], atol=1e-6)


def test_a_sliced_vector_column_keeps_its_rows() -> None:
    column = pa.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], pa.list_(pa.float32(), 2))
    table = pa.table({"text": ["a", "b", "c"], "text_embedding": column}).slice(1)
    np.testing.assert_allclose(normal(table)["text_embedding"].to_pylist(), [[0, 1], [0.6, 0.8]], atol=1e-6)


def test_vectors_of_something_else_are_refused() -> None:
    with pytest.raises(DataError, match="give lists of 2 numbers"):
        normal([{"text": "a", "text_embedding": "0.1"}])
    with pytest.raises(DataError, match="does not hold numbers"):
        normal([{"text": "a", "text_embedding": ["x", "y"]}])


def test_columns_convert_to_their_stored_types() -> None:
    found = normal(
        pa.table(
            {
                "text": pa.array(["a", "a"]).dictionary_encode(),
                "session_id": [7, None],
                "importance": pa.array([1, 0], pa.int8()),
                "speaker": pa.array(["Ann", "Bob"], pa.large_string()),
            }
        )
    )
    assert found["session_id"].to_pylist() == ["7", None]
    assert found["importance"].to_pylist() == [1.0, 0.0]
    assert found["text"].to_pylist() == ["a", "a"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "tier": "forever"}, "row 0: tier is 'forever'; it is one of short, long, archived"),
        ({"text": "a", "importance": 1.5}, "row 0: importance is 1.5"),
        ({"text": "a", "trust": float("nan")}, "row 0: trust is nan"),
        ({"text": "a", "importance": "high"}, "'importance'"),
        ({"text": b"bytes"}, "'text' holds bytes"),
        ({"text": ["a", "b"]}, "row 0: 'text' is a list; give a text"),
        ({"text": "\ud800"}, "'text'"),
        ({"text": ""}, "row 0: nothing to remember"),
        ({"title": " ", "text": None}, "row 0: nothing to remember"),
    ],
)
def test_a_wrong_value_is_refused(row: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        normal([row])


def test_text_that_is_not_utf8_is_refused() -> None:
    raw = pa.array([b"\xff\xfe"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 1, raw.buffers())
    with pytest.raises(DataError, match="'text'"):
        normal(pa.table({"text": broken}))


@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b", "🙂" * 1000, "x" * 1_000_000, "'; DROP TABLE memories; --"]
)
def test_strange_text_is_kept(text: str) -> None:
    assert normal([{"text": text}])["text"].to_pylist() == [text]


def test_modalities_say_what_a_memory_consists_of() -> None:
    found = normal(
        [
            {"text": "a"},
            {"text": "a", "media": b"..", "media_type": "image/png"},
            {"media_uri": "file:///x.ogg", "media_type": "audio/ogg"},
            {"media": b".."},
            {"title": "only a title"},
        ]
    )
    assert found["modalities"].to_pylist() == [["text"], ["text", "image"], ["audio"], ["binary"], ["text"]]


optional_text = st.none() | st.text(max_size=3)
HASHED = ("user_id", "agent_id", "session_id", "kind", "title", "text", "speaker", "media_uri", "audio_uri")


@given(st.lists(st.tuples(*[optional_text] * len(HASHED)), min_size=2, max_size=8))
def test_hashes_are_equal_exactly_when_scope_and_content_are(rows: list[tuple[str | None, ...]]) -> None:
    columns = {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(HASHED)}
    columns |= dict.fromkeys(("media", "audio"), pa.nulls(len(rows), pa.large_binary()))
    hashes = content_hashes(columns).to_pylist()
    for i in range(len(rows)):
        for j in range(i):
            assert (hashes[i] == hashes[j]) == (rows[i] == rows[j])


@given(st.lists(st.sampled_from("abcd")))
def test_first_of_each_finds_every_row_its_first(values: list[str]) -> None:
    first, of_row = first_of_each(values)
    assert [values[row] for row in first] == list(dict.fromkeys(values))
    assert [values[first[place]] for place in of_row] == values
