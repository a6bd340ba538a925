"""Plans that a cursor keeps: the second and later executions of a retrieval query answer as the first did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import aios_db
from aios_db.config import Config
from aios_db.cursor import Cursor
from aios_db.plans import CAPACITY
from aios_db.schema.config import EngineConfig

pytestmark = pytest.mark.sql

TEXTS = ["the cat sat on the mat", "a dog chased the cat", "tea and toast", "the dog slept", "toast with jam"]
RECALL = "SELECT text FROM recall(?, k := 3, user_id := ?)"
PLANS = "SELECT count(*) FROM duckdb_prepared_statements() WHERE starts_with(name, 'aios_plan')"


@pytest.fixture
def con(minilm_dir: Path, tmp_path: Path) -> Iterator[Cursor]:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "plans.aios", config=config) as connection:
        connection.remember([{"text": text, "user_id": "ann"} for text in TEXTS])
        connection.remember("toast for bob", user_id="bob")
        yield connection.cursor()


def test_every_execution_answers_its_own_question(con: Cursor) -> None:
    questions = [
        ("toast", "ann"),
        ("cat", "ann"),
        ("toast", "bob"),
        ("it's; -- '", "ann"),
        ("nul \0 byte", "ann"),
    ]
    for question in questions:
        fresh = con.connection.cursor()
        first = fresh.execute(RECALL, question).fetchall()
        assert fresh.execute(PLANS).fetchone() == (0,)
        for _ in range(2):
            assert con.execute(RECALL, question).fetchall() == first
    assert con.execute(PLANS).fetchone() == (1,)
    assert con.execute(RECALL, ("toast", "bob")).fetchall() == [("toast for bob",)]


def test_a_kept_plan_sees_new_memories(con: Cursor) -> None:
    joined = "SELECT m.text FROM keyword_search(?, 5) JOIN memories m USING (memory_id) ORDER BY m.text"
    for _ in range(3):
        assert con.execute(joined, ["jam"]).fetchall() == [("toast with jam",)]
    con.connection.remember("jam today")
    assert con.execute(joined, ["jam"]).fetchall() == [("jam today",), ("toast with jam",)]


def test_parameters_of_other_types_and_names(con: Cursor) -> None:
    for k in (2, 1, None, 10**6, 0):
        rows = con.execute("SELECT text FROM recall(?, k := ?)", ["toast", k]).fetchall()
        assert len(rows) == min(k or 0, len(TEXTS) + 1)
    named = "SELECT text FROM recall($question, user_id := $who, k := 1)"
    for who, text in (("bob", "toast for bob"), ("bob", "toast for bob")):
        assert con.execute(named, {"who": who, "question": "toast"}).fetchall() == [(text,)]
    some = "SELECT typeof(?), count(*) FROM recall('toast', k := 2)"
    for value, kind in (
        (1, "INTEGER"),
        ("x", "VARCHAR"),
        (2.5, "DOUBLE"),
        (10**12, "BIGINT"),
        (True, "BOOLEAN"),
    ):
        assert con.execute(some, [value]).fetchone() == (kind, 2)


def test_parameters_arrive_as_they_are(con: Cursor) -> None:
    query = "SELECT DISTINCT $1, typeof($1) FROM recall('toast', k := 2)"
    texts = [
        "it's",
        "$1 ? \\n \\'",
        "two\nlines",
        "nul\x00nul",
        "\u2603 \U0001f600",
        "",
        "x" * 10**5,
        "'); DROP TABLE t; --",
    ]
    for value in (*texts, -1, 2**40, 2**100, False, 2.5, float("inf"), [1.5, 2.0], b"\x00'"):
        first = con.execute(query, [value]).fetchall()
        assert first == con.connection.cursor().execute(query, [value]).fetchall()
        assert first[0][0] == value
        assert con.execute(query, [value]).fetchall() == first


def test_a_setting_is_not_frozen_into_a_plan(con: Cursor) -> None:
    hour = "SELECT DISTINCT hour('2024-06-01 12:00:00+00'::TIMESTAMPTZ) FROM recall('toast', k := 1)"
    for zone, expected in (("UTC", 12), ("Asia/Tokyo", 21), ("America/New_York", 8)):
        con.execute(f"SET TimeZone = '{zone}'")
        for _ in range(3):
            assert con.execute(hour).fetchone() == (expected,)


@pytest.mark.parametrize("by", ["its relation", "another cursor", "another cursor's relation"])
def test_a_setting_that_was_made_elsewhere_is_not_frozen_either(con: Cursor, by: str) -> None:
    other = con if by == "its relation" else con.connection.cursor()
    run = other.execute if by == "another cursor" else other.sql
    hour = "SELECT DISTINCT hour('2024-06-01 12:00:00+00'::TIMESTAMPTZ) FROM recall('toast', k := 1)"
    for zone, expected in (("UTC", 12), ("Asia/Tokyo", 21)):
        run(f"SET GLOBAL TimeZone = '{zone}'")
        for _ in range(3):
            assert con.execute(hour).fetchone() == (expected,)


def test_numbers_and_vectors_of_other_types(con: Cursor) -> None:
    vector = np.array(con.execute("SELECT embed('toast')").fetchone()[0])
    for k in (2, 2.0, "2"):
        assert con.execute("SELECT count(*) FROM recall('toast', k := ?)", [k]).fetchone() == (2,)
        for given in (vector, vector.astype(np.float32), vector.tolist()):
            nearest = con.execute("SELECT count(*) FROM vector_search(?, ?)", [given, k]).fetchone()
            assert nearest == (2,)


def test_a_table_that_changed_is_planned_anew(con: Cursor) -> None:
    con.execute("CREATE TABLE mine AS SELECT 1 AS label")
    query = "SELECT DISTINCT mine.* FROM recall('toast', k := 2), mine"
    for _ in range(3):
        assert con.execute(query).fetchall() == [(1,)]
    con.execute("CREATE OR REPLACE TABLE mine AS SELECT 'a' AS label, 'b' AS other")
    assert con.execute(query).fetchall() == [("a", "b")]
    assert [column[0] for column in con.description or ()] == ["label", "other"]
    con.execute("DROP TABLE mine")
    with pytest.raises(aios_db.ProgrammingError, match="mine"):
        con.execute(query)


@pytest.mark.parametrize("by", ["itself", "another cursor"])
def test_a_view_or_macro_that_changed_is_planned_anew(con: Cursor, by: str) -> None:
    other = con if by == "itself" else con.connection.cursor()
    query = "SELECT DISTINCT label, twice(1) FROM recall('toast', k := 2), mine"
    for label in (1, 2):
        other.execute(f"CREATE OR REPLACE VIEW mine AS SELECT {label} AS label")
        other.execute(f"CREATE OR REPLACE MACRO twice(x) AS x + {label}")
        for _ in range(3):
            assert con.execute(query).fetchall() == [(label, 1 + label)]


@pytest.mark.parametrize(("end", "label"), [("COMMIT", 2), ("ROLLBACK", 1)])
def test_a_view_that_changed_in_a_transaction_is_planned_anew(con: Cursor, end: str, label: int) -> None:
    other = con.connection.cursor()
    query = "SELECT DISTINCT label FROM recall('toast', k := 2), mine"
    other.execute(
        "CREATE VIEW mine AS SELECT 1 AS label; BEGIN; CREATE OR REPLACE VIEW mine AS SELECT 2 AS label"
    )
    for _ in range(3):
        assert con.execute(query).fetchall() == [(1,)]
        assert other.execute(query).fetchall() == [(2,)]
    other.execute(end)
    for _ in range(3):
        assert con.execute(query).fetchall() == [(label,)]
        assert other.execute(query).fetchall() == [(label,)]


def test_a_registered_frame_that_changed_is_planned_anew(con: Cursor) -> None:
    query = "SELECT question, text FROM asked, keyword_search(question, 1) JOIN memories USING (memory_id)"
    for question, text in (("jam", "toast with jam"), ("slept", "the dog slept")):
        con.register("asked", pa.table({"question": [question]}))
        for _ in range(3):
            assert con.execute(query).fetchall() == [(question, text)]
    con.unregister("asked")
    with pytest.raises(aios_db.ProgrammingError, match="asked"):
        con.execute(query)


def test_an_error_of_planning_names_the_query_and_not_the_plan(con: Cursor) -> None:
    for _ in range(3):
        with pytest.raises(aios_db.ProgrammingError, match="absent") as raised:
            con.execute("SELECT text FROM recall(?), absent", ["cat"])
        assert "PREPARE" not in str(raised.value)
    con.execute("CREATE TABLE absent AS SELECT 1")
    for _ in range(3):
        assert len(con.execute("SELECT text FROM recall(?, k := 2), absent", ["cat"]).fetchall()) == 2


def test_errors_are_the_same_the_second_time(con: Cursor) -> None:
    for _ in range(3):
        with pytest.raises(aios_db.ProgrammingError, match="no_such_column"):
            con.execute("SELECT no_such_column FROM recall('toast')")
        with pytest.raises(aios_db.ProgrammingError):
            con.execute(RECALL, ["toast"])
    assert len(con.execute(RECALL, ["toast", "ann"]).fetchall()) == 3


def test_only_so_many_plans_are_kept(con: Cursor) -> None:
    for number in range(CAPACITY + 5):
        for _ in range(2):
            con.execute(f"SELECT {number}, count(*) FROM recall('toast', k := 1)").fetchall()
    (kept,) = con.execute(PLANS).fetchone()
    assert kept == CAPACITY
    con.execute("SET TimeZone = 'UTC'")
    assert con.execute(PLANS).fetchone() == (0,)
