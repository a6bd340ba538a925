"""Rows as a hostile or careless caller gives them: a clear error or a sensible memory, never half of one."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from store_helpers import memory_rows

import aios_db
from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import DataError, Error, ProgrammingError
from aios_db.store.rows import normalise
from aios_db.store.tables import table_from

DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


def column(name: str, rows: Any) -> list[Any]:
    values: list[Any] = normalise(table_from(rows), 2)[name].to_pylist()
    return values


def encoded(texts: list[str]) -> pa.DictionaryArray:
    return pa.array(texts).dictionary_encode()


def cyclic() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["self"] = found
    return found


@pytest.mark.parametrize(
    "metadata",
    [
        [1],
        {(1, 2): 3},
        '{"a": NaN}',
        '{"a": -Infinity}',
        cyclic(),
        '{"a":' * 100_000,
        "5",
        "null",
        {"a": float("inf")},
        {"k": "\ud800"},
    ],
)
def test_metadata_that_is_not_json_is_refused(metadata: object) -> None:
    with pytest.raises(DataError, match="metadata"):
        normalise(table_from([{"text": "a", "metadata": metadata}]), 2)


def test_a_mapping_of_nothing_is_not_passed_over() -> None:
    with pytest.raises(DataError, match="row 0: nothing to remember"):
        table_from([{}])
    assert table_from([]).num_rows == 0


@pytest.mark.parametrize("missing", [pd.NaT, pd.NA, np.datetime64("NaT"), None])
def test_a_missing_moment_is_null(missing: object) -> None:
    assert column("occurred_at", [{"text": "a", "occurred_at": missing}]) == [None]


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2024-01-01"),
        np.datetime64("2024-01-01T00:00:00.000000000"),
        np.int64(DAY.timestamp()),
        np.float64(DAY.timestamp()),
        pd.Timestamp("2024-01-01T09:00", tz="Asia/Tokyo"),
    ],
)
def test_a_moment_of_numpy_or_pandas_is_read(value: object) -> None:
    assert column("occurred_at", [{"text": "a", "occurred_at": value}]) == [DAY]


@pytest.mark.parametrize(
    "value",
    [
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=14))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        np.datetime64("300000-01-01"),
        pa.scalar(2**62, pa.timestamp("s")),
        pa.scalar(2**60, pa.timestamp("us")),
        pa.scalar(2**31 - 1, pa.date32()),
        pa.scalar(-(2**62), pa.timestamp("us", "UTC")),
    ],
)
def test_a_moment_that_could_not_be_read_again_is_refused(value: Any) -> None:
    rows: Any = [{"text": "a", "occurred_at": value}]
    if isinstance(value, pa.Scalar):
        rows = pa.table({"text": ["a"], "occurred_at": pa.array([value], value.type)})
    with pytest.raises(DataError, match="occurred_at"):
        column("occurred_at", rows)


def test_the_first_and_the_last_moment_are_kept() -> None:
    ends = [datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)]
    assert column("occurred_at", [{"text": "a", "occurred_at": each} for each in ends]) == ends


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (lambda: pd.DataFrame({"text": ["a", 5]}, dtype=object), DataError),
        (lambda: pd.DataFrame({"text": pd.Series(["\ud800"], dtype=object)}), DataError),
        (lambda: pd.DataFrame([["a", "b"]], columns=["text", "text"]), ProgrammingError),
        (lambda: pd.DataFrame([["a"]]), ProgrammingError),
        (lambda: pd.Series(["a"], name="text"), ProgrammingError),
        (lambda: pd.DataFrame({"text": ["a"], "occurred_at": pd.period_range("2024", periods=1)}), DataError),
        (lambda: pd.DataFrame({"text": ["a"], "importance": pd.interval_range(0, 1, 1)}), DataError),
        (lambda: pl.Series("text", ["a"]), ProgrammingError),
        (lambda: pl.LazyFrame({"text": ["a"]}), ProgrammingError),
        (lambda: pl.DataFrame({"text": ["a"], "importance": [1]}, schema_overrides={"importance": pl.Int128}),
         ProgrammingError),
        (lambda: pl.DataFrame({"text": [b"a"]}), DataError),
        (lambda: pa.table({"text": pa.array([b"a"], pa.binary_view())}), DataError),
        (lambda: pa.table({"session_id": ["s"]}), DataError),
    ],
)  # fmt: skip
def test_a_frame_that_does_not_fit_is_refused(frame: Any, error: type[Error]) -> None:
    with pytest.raises(error):
        normalise(table_from(frame()), 2)


@pytest.mark.parametrize(
    "frame",
    [
        lambda texts: pd.DataFrame({"text": pd.Categorical(texts)}),
        lambda texts: pd.DataFrame({"text": texts}, index=["x", "y", "z"]),
        lambda texts: pl.DataFrame({"text": texts}, schema={"text": pl.Categorical}),
        lambda texts: pl.DataFrame({"text": texts}, schema={"text": pl.Enum(["a", "b"])}),
        lambda texts: pa.table({"text": pa.array(texts, pa.large_string())}),
        lambda texts: pa.table({"text": pa.array(texts, pa.string_view())}),
        lambda texts: pa.table({"text": encoded(texts)}),
        lambda texts: pa.table({"text": pa.chunked_array([encoded([each]) for each in texts])}),
        lambda texts: pa.table({"text": pa.RunEndEncodedArray.from_arrays([1, 2, 3], texts)}),
        lambda texts: pa.table({"text": texts}).to_reader(),
    ],
)  # fmt: skip
def test_texts_are_read_in_whatever_they_come(frame: Any) -> None:
    assert column("text", frame(["a", "b", "a"])) == ["a", "b", "a"]


def test_missing_values_of_pandas_are_null() -> None:
    frame = pd.DataFrame(
        {
            "text": ["a", "b"],
            "title": ["t", float("nan")],
            "session_id": pd.array([1, None], dtype="Int64"),
            "occurred_at": pd.to_datetime(["2024-01-01", None]),
            "metadata": [{"x": 1}, '{"y": 2}'],
            "text_embedding": [np.array([0.0, 2.0]), None],
        }
    )
    for rows in (frame, frame.astype({"session_id": "string"}).to_dict("records")):
        assert column("title", rows) == ["t", None]
        assert column("session_id", rows) == ["1", None]
        assert column("occurred_at", rows) == [DAY, None]
        assert [json.loads(each) for each in column("metadata", rows)] == [{"x": 1}, {"y": 2}]
        assert column("text_embedding", rows) == [[0.0, 1.0], None]


@pytest.mark.parametrize("type_", [pa.list_view(pa.float32()), pa.large_list_view(pa.float64())])
def test_vectors_may_be_list_views(type_: pa.DataType) -> None:
    rows = pa.table({"text": ["a", "b"], "text_embedding": pa.array([[0, 2.0], None], type_)})
    assert column("text_embedding", rows) == [[0.0, 1.0], None]


@pytest.mark.parametrize("bad", [[5], [None], [b"x"]])
def test_what_cannot_be_an_id_is_not_forgotten(store: MemoryStore, bad: Any) -> None:
    (kept,) = store.remember(memory_rows(["a"]))
    with pytest.raises(ProgrammingError, match="memory_id is text"):
        store.forget([kept, *bad])
    assert store.forget(["\ud800", "\0", "", "unknown"]) == 0
    assert store.forget([kept]) == 1


def test_bad_rows_leave_nothing_behind(tmp_path: Any) -> None:
    with aios_db.connect(tmp_path / "agent.aios") as connection:
        vector = [1.0, *[0.0] * 383]
        for rows in (
            [{"text": "good", "text_embedding": vector}, {"text": "bad", "text_embedding": [1.0]}],
            [{"text": "good", "text_embedding": vector}, {"text": "\ud800", "text_embedding": vector}],
            [{"text": "good", "text_embedding": vector}, {"text": "bad", "occurred_at": "soon"}],
            [{"text": "good", "text_embedding": vector}, {}],
        ):
            with pytest.raises(DataError):
                connection.remember(rows)
        for call in (
            lambda: connection.forget(None),
            lambda: connection.forget(5),
            lambda: connection.link("\ud800", "b"),
            lambda: connection.link("a", "b", kind="\ud800"),
        ):
            with pytest.raises((ProgrammingError, DataError)):
                call()
        assert connection.execute("SELECT count(*) FROM memories").fetchone() == (0,)
        odd = ["a\0b", "🎈👩\u200d👩\u200d👧", "x" * 1_000_000, "; DROP TABLE memories; --", "'\"\\"]
        ids = connection.remember([{"text": text, "text_embedding": vector} for text in odd])
        assert len(set(ids)) == len(odd)
        stored = connection.execute("SELECT text FROM memories ORDER BY memory_id").fetchall()
        assert [text for (text,) in stored] == odd
        assert connection.remember([], session_id="s") == []
