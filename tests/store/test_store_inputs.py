"""Every column with every odd value: taken as what it means, or refused with its name."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aios_db.schema.errors import DataError
from aios_db.store.rows import normalise
from aios_db.store.tables import table_from

ID = UUID("12345678-1234-5678-1234-567812345678")
DAY = datetime(2024, 5, 1, tzinfo=timezone.utc)


class Colour(Enum):
    RED = "red"


REFUSED = object()
NAMES = (
    "kind", "session_id", "agent_id", "user_id", "speaker", "source", "media_uri", "media_type",
    "external_id",
)  # fmt: skip
ODD: list[tuple[Any, Any]] = [
    # the value, and what a column of names makes of it
    (ID, str(ID)),
    (7, "7"),
    (np.int64(7), "7"),
    (np.str_("seven"), "seven"),
    (PurePosixPath("/a/b"), "/a/b"),
    (Colour.RED, "red"),
    (b"bytes", REFUSED),
    (bytearray(b"bytes"), REFUSED),
    (1.5, REFUSED),
    (np.float32(1.5), REFUSED),
    (True, REFUSED),
    (Decimal("1.5"), REFUSED),
    (Fraction(1, 2), REFUSED),
    (date(2024, 5, 1), REFUSED),
    (DAY, REFUSED),
    (time(10), REFUSED),
    (["a"], REFUSED),
    ({"a": 1}, REFUSED),
    ({"a"}, REFUSED),
    (object(), REFUSED),
]
OTHERS: dict[str, dict[int, Any]] = {
    # by place in ODD: what else these columns take
    "text": {3: "seven", 5: "red"},
    "title": {3: "seven", 5: "red"},
    "media": {6: b"bytes", 7: b"bytes"},
    "occurred_at": {
        1: datetime(1970, 1, 1, 0, 0, 7, tzinfo=timezone.utc),
        2: datetime(1970, 1, 1, 0, 0, 7, tzinfo=timezone.utc),
        8: datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=timezone.utc),
        9: datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=timezone.utc),
        13: DAY,
        14: DAY,
    },
    "derived_from": {16: ["a"], 18: ["a"]},
    "metadata": {17: {"a": 1}},
    "importance": {10: 1.0},
    "trust": {10: 1.0},
    "text_embedding": {},
    "tier": {},
}


def expected(column: str, place: int) -> Any:
    return ODD[place][1] if column in NAMES else OTHERS[column].get(place, REFUSED)


@pytest.mark.parametrize(
    "place", range(len(ODD)), ids=[f"{place}-{type(value).__name__}" for place, (value, _) in enumerate(ODD)]
)
@pytest.mark.parametrize("column", [*NAMES, *OTHERS])
def test_every_column_takes_or_refuses_every_value(column: str, place: int) -> None:
    value, wanted = ODD[place][0], expected(column, place)
    row = {"text": "x", column: value}
    frame = pd.DataFrame({name: pd.Series([each], dtype=object) for name, each in row.items()})
    for rows in ([row], frame):
        if wanted is REFUSED:
            with pytest.raises(DataError, match=column):
                normalise(table_from(rows), 2)
        else:
            found = normalise(table_from(rows), 2)[column][0].as_py()
            assert (json.loads(found) if column == "metadata" else found) == wanted


@pytest.mark.parametrize("column", ["text", *NAMES])
@pytest.mark.parametrize("type_", [pa.bool_(), pa.date32(), pa.decimal128(4, 2), pa.binary(16)])
def test_arrow_columns_that_are_no_text_are_refused(column: str, type_: pa.DataType) -> None:
    columns = {"text": pa.array(["x"]), column: pa.nulls(1, type_)}
    with pytest.raises(DataError, match=f"column '{column}'"):
        normalise(pa.table(columns), 2)


def test_arrow_uuids_and_integers_are_names() -> None:
    columns = {
        "text": ["x"],
        "session_id": pa.array([ID.bytes], pa.uuid()),
        "user_id": pa.array([7], pa.uint8()),
    }
    found = normalise(pa.table(columns), 2)
    assert found["session_id"].to_pylist() == [str(ID)] and found["user_id"].to_pylist() == ["7"]


def test_lineage_by_uuids() -> None:
    rows = [{"text": "x", "derived_from": (ID, "b")}, {"text": "y", "derived_from": np.array(["c"])}]
    assert normalise(table_from(rows), 2)["derived_from"].to_pylist() == [[str(ID), "b"], ["c"]]


def test_metadata_holds_what_python_does() -> None:
    metadata = {
        "id": ID, "when": DAY, "path": PurePosixPath("a/b"), "colour": Colour.RED, "n": np.int64(3),
        "list": np.array([1.5, 2]), "set": {"b", "a"}, 5: None,
    }  # fmt: skip
    found = json.loads(normalise(table_from([{"text": "x", "metadata": metadata}]), 2)["metadata"][0].as_py())
    assert found == {
        "id": str(ID), "when": str(DAY), "path": "a/b", "colour": "red", "n": 3, "list": [1.5, 2.0],
        "set": ["a", "b"], "5": None,
    }  # fmt: skip
    with pytest.raises(DataError, match="metadata is not JSON: it holds bytes"):
        table_from([{"text": "x", "metadata": {"x": b"1"}}])
