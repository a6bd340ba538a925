"""Rows that callers have in hand: named tuples, frames with gaps, and what the database returned."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aios_db
from aios_db import DataError
from aios_db.config import Config

pytestmark = pytest.mark.sql

EYE = np.eye(384, dtype=np.float32)


class Said(NamedTuple):
    text: str
    speaker: str | None
    text_embedding: Any = EYE[0]


def test_a_named_tuple_is_one_row(con: aios_db.Connection) -> None:
    one = con.remember(Said("tea", "Ada"))
    assert isinstance(one, str)
    several = con.remember([Said("milk", "Bo", EYE[1]), Said("water", None, EYE[2])])
    plain = namedtuple("plain", "text speaker text_embedding")
    several += [con.remember(plain("rum", "Cy", EYE[3]))]
    found = con.execute("SELECT text, speaker FROM memories ORDER BY memory_id").fetchall()
    assert found == [("tea", "Ada"), ("milk", "Bo"), ("water", None), ("rum", "Cy")]
    assert len({one, *several}) == 4


FRAME = pd.DataFrame(
    {"text": ["a", "b"], "session_id": [1, None], "text_embedding": [EYE[0].tolist(), EYE[1].tolist()]}
)


@pytest.mark.parametrize(
    "rows",
    [
        FRAME,
        FRAME.convert_dtypes(),
        FRAME.to_dict("records"),
        pa.table({"text": ["a", "b"], "session_id": [1.0, float("nan")], "text_embedding": [EYE[0], EYE[1]]}),
        FRAME.astype({"session_id": object}),
    ],
    ids=["gaps as NaN", "nullable", "records", "arrow", "objects"],
)
def test_a_number_names_the_same_where_another_is_missing(con: aios_db.Connection, rows: Any) -> None:
    con.remember(rows)
    found = con.execute("SELECT text, session_id FROM memories ORDER BY text").fetchall()
    assert found == [("a", "1"), ("b", None)]


@pytest.mark.parametrize("value", [1.5, float("inf"), 1e300, True])
@pytest.mark.parametrize("make", [list, pd.DataFrame])
def test_what_has_no_one_text_names_nothing(con: aios_db.Connection, make: Any, value: Any) -> None:
    with pytest.raises(DataError, match="session_id"):
        con.remember(make([{"text": "a", "session_id": value, "text_embedding": EYE[0].tolist()}]))


METADATA = {"f": {"g": [1, 2, {"h": "x"}]}, "l": [5, [6, 7]], "a.b": {"c": [True]}, "n": {"m": 3}}
PATHS = ["$.f.g[2].h", "$.f.g[0]", "$.f.g[1]", "$.l[0]", "$.l[1][1]", '$."a.b".c[0]', "$.n.m"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_into_a_list_filters_as_it_reads(con: aios_db.Connection, path: str) -> None:
    con.remember(
        [
            {"text": "in", "metadata": METADATA, "text_embedding": EYE[0]},
            {"text": "out", "metadata": {"f": {"g": [{"h": "y"}, 9]}}, "text_embedding": EYE[1]},
        ]
    )
    ((value,),) = con.execute("SELECT metadata->>? FROM memories WHERE text = 'in'", [path]).fetchall()
    assert value is not None
    find = (
        "SELECT m.text FROM vector_search(?::FLOAT[], 5, metadata := MAP {?: ?}) "
        "JOIN memories m USING (memory_id)"
    )
    vector = EYE[0].tolist()
    assert con.execute(find, [vector, path, value]).fetchall() == [("in",)]
    assert con.execute(find, [vector, path, "other"]).fetchall() == []
    further = path.replace("[0]", "[1]").replace("[2]", "[0]")
    if further != path:  # not any item of the list, but the one
        assert con.execute(find, [vector, further, value]).fetchall() == []


@pytest.mark.parametrize("path", ["$.l[*]", "$.l[#-1]", "$.l[", "$.a..b", '$."a'])
def test_a_path_that_is_none_is_refused(con: aios_db.Connection, path: str) -> None:
    con.remember([{"text": "in", "metadata": METADATA, "text_embedding": EYE[0]}])
    with pytest.raises(aios_db.Error, match="is no path"):
        con.recall("in", metadata={path: 1})


def test_a_link_made_again_is_no_weaker(con: aios_db.Connection) -> None:
    a, b = con.remember([{"text": "a", "text_embedding": EYE[0]}, {"text": "b", "text_embedding": EYE[1]}])
    con.link(a, b, weight=0.5)
    con.link(a, b, weight=0.25)
    weight = "SELECT weight, evidence_count FROM association_links WHERE kind = 'user'"
    assert con.execute(weight).fetchall() == [(0.5, 2)]
    con.execute("SELECT link(?, ?, weight := 0.75)", [a, b])
    assert con.execute(weight).fetchall() == [(0.75, 3)]
    con.execute("UPDATE association_links SET weight = 0.25 WHERE kind = 'user'")
    assert con.execute(weight).fetchall()[0][0] == 0.25


@pytest.mark.parametrize("as_", ["memory", "memories", "pandas", "polars", "arrow", "records"])
def test_what_comes_out_goes_in(con: aios_db.Connection, tmp_path: Path, as_: str) -> None:
    ids = con.remember(
        [
            {"text": "a", "speaker": "Ada", "metadata": {"p": 1}, "media": b"x", "text_embedding": EYE[0]},
            {"text": "b", "occurred_at": "2024-05-01", "session_id": "s", "text_embedding": EYE[1]},
        ]
    )
    con.link(*ids, weight=0.5)
    query = "SELECT * FROM memories ORDER BY memory_id"
    shapes: dict[str, Any] = {
        "memory": lambda: con.get(ids[0]),
        "memories": lambda: con.get(ids),
        "pandas": lambda: con.sql(query).df(),
        "polars": lambda: con.sql(query).pl(),
        "arrow": lambda: con.sql(query).to_arrow_table(),
        "records": lambda: con.sql(query).df().to_dict("records"),
    }
    with aios_db.connect(tmp_path / "other.aios", config=Config()) as other:
        given = other.remember(shapes[as_]())
        copies = other.get([given] if isinstance(given, str) else given)
    for old, copy in zip(con.get(ids), copies, strict=False):
        assert old is not None and copy is not None and copy.memory_id != old.memory_id
        for name in ("text", "speaker", "metadata", "media", "occurred_at", "session_id", "kind", "trust"):
            assert getattr(copy, name) == getattr(old, name), name
        assert copy.text_embedding is not None
        np.testing.assert_array_equal(copy.text_embedding, old.text_embedding)
    assert con.forget(con.get(ids)) == 2


def test_a_memory_id_alone_is_refused(con: aios_db.Connection) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="memory_id"):
        con.remember({"memory_id": "m", "text": "x"})
