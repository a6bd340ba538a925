"""Plans that a cursor keeps: the second and later executions of a retrieval query answer as the first did."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

import aios_db
from aios_db.config import Config
from aios_db.cursor import Cursor
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import ProgrammingError
from aios_db.sql.plans import CAPACITY
from aios_db.sql.trees import nodes, tree_of
from aios_db.udfs import registry

pytestmark = pytest.mark.sql

TEXTS = ["the cat sat on the mat", "a dog chased the cat", "tea and toast", "the dog slept", "toast with jam"]
RECALL = "SELECT text FROM recall(?, k := 3, user_id := ?)"
NOW = datetime(2030, 6, 1, 12, tzinfo=timezone.utc)
PLANS = "SELECT count(*) FROM duckdb_prepared_statements() WHERE starts_with(name, 'aios_plan')"


@pytest.fixture(scope="module")
def config(minilm_dir: Path) -> Config:
    return Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))


@pytest.fixture(scope="module")
def original(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("plans") / "plans.aios"
    with aios_db.connect(path, config=config) as connection:
        connection.remember([{"text": text, "user_id": "ann"} for text in TEXTS])
        connection.remember("toast for bob", user_id="bob")
    return path


@pytest.fixture
def con(original: Path, config: Config, tmp_path: Path) -> Iterator[Cursor]:
    """A cursor of a copy of that database."""
    path = shutil.copytree(original, tmp_path / "plans.aios")
    with aios_db.connect(path, config=config) as connection:
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
    for k in (2, 1, 10**6, 0):
        rows = con.execute("SELECT text FROM recall(?, k := ?)", ["toast", k]).fetchall()
        assert len(rows) == min(k, len(TEXTS) + 1)
    with pytest.raises(ProgrammingError, match="k is NULL"):
        con.execute("SELECT text FROM recall(?, k := ?)", ["toast", None]).fetchall()
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


TOAST = [1.0] + [0.0] * 383
ONE_PLAN = [
    ("keyword_search(?, ?)", [("toast", 5), ("jam", 1)]),
    ("keyword_search($words, $most)", [{"words": "toast", "most": 5}, {"most": 1, "words": "jam"}]),
    ("keyword_search(?, 5, user_id := ?)", [("toast", "ann"), ("jam", "bob")]),
    ("keyword_search(?, 5, user_id := ?)", [("toast", ["ann", "bob"]), ("jam", ["bob"])]),
    ("keyword_search(?, 5, user_id := ?)", [("toast", None), ("jam", None)]),
    ("keyword_search(?, 5, metadata := ?)", [("toast", {"a": "b"}), ("jam", {"a": "c"})]),
    ("keyword_search(?, 5, min_importance := ?)", [("toast", 0.1), ("jam", 0.2)]),
    (
        "keyword_search(?, 5, since := ?, until := ?)",
        [
            ("toast", datetime(2020, 1, 1), datetime(2099, 1, 1, tzinfo=timezone.utc)),
            ("jam", datetime(2021, 1, 1, 2), NOW),
        ],
    ),
    ("keyword_search(?, 5, since := ?)", [("toast", date(2020, 1, 1)), ("jam", date(2021, 1, 1))]),
    ("keyword_search(?, 5, since := ?)", [("toast", "2020-01-01"), ("jam", "2021-01-01")]),
    ("vector_search(?, ?)", [(TOAST, 2), (TOAST[::-1], 1)]),
    ("vector_search(?, ?, content := ?)", [(TOAST, 2, "jam"), (TOAST[::-1], 1, "toast")]),
    ("spread(?, ?, ?)", [(["x"], [0.5], 1), (["y", "z"], [0.5, 0.25], 2)]),
    ("neighbors(?, ?)", [("x", 1), ("y", 2)]),
    ("memories_by_id(?)", [(["x"],), (["y", "z"],)]),
    (
        "recall(?, k := ?, hops := ?, user_id := ?, min_score := ?, graph_weight := ?)",
        [("toast", 5, 1, "ann", 0.0, 1.0), ("jam", 2, 0, "bob", -1.5, 0.5)],
    ),
]


@pytest.mark.parametrize(("call", "sets"), ONE_PLAN)
def test_other_values_of_the_same_types_need_no_other_plan(con: Cursor, call: str, sets: list[Any]) -> None:
    planned = []
    con.connection.session._root.create_function(
        "planned", planned.append, ["VARCHAR"], "VARCHAR", null_handling="special"
    )
    query = f"SELECT memory_id, planned('x') AS planned FROM {call} ORDER BY memory_id"
    expected = [con.connection.cursor().execute(query, each).fetchall() for each in sets]
    for each in (sets[0], sets[0]):
        con.execute(query, each).fetchall()
    planned.clear()
    for _ in range(2):
        assert [con.execute(query, each).fetchall() for each in sets] == expected
    assert not planned


def test_a_plan_names_columns_as_the_query_does(con: Cursor) -> None:
    query = "SELECT text, upper(?), $2 AS given FROM recall('toast', k := 1)".replace("$2", "?")
    for value in ("a", "b", "c"):
        rows = con.execute(query, [value, value]).fetchall()
        assert rows[0][1:] == (value.upper(), value)
        assert [column[0] for column in con.description or ()] == ["text", "upper($1)", "given"]


def test_question_marks_that_are_no_parameters_stay(con: Cursor) -> None:
    query = """SELECT text, 'é ? $1' AS "?", $$?$$ AS b -- ? and $1
        FROM recall(?, k := ? /* ? */) WHERE text <> '?' AND text >= ?"""
    for least in ("a", "b", "a"):
        rows = con.execute(query, ["toast", 2, least]).fetchall()
        assert len(rows) == 2
        assert {row[1:] for row in rows} == {("é ? $1", "?")}


def test_recall_behind_a_macro_of_the_users_is_planned_once(con: Cursor) -> None:
    con.execute("CREATE MACRO mine(words) AS TABLE SELECT text FROM recall(words, k := 1)")
    con.execute("CREATE MACRO ours(words) AS TABLE FROM mine(words)")
    for _ in range(3):
        assert con.execute("FROM ours(?)", ["jam"]).fetchall() == [("toast with jam",)]
        assert con.execute("SELECT 'recall(' || ?", ["x"]).fetchall() == [("recall(x",)]
    assert con.execute(PLANS).fetchone() == (1,)


@pytest.mark.parametrize("columns", ["$1, typeof($1)", "$1 AS value, typeof($1) AS type"])
def test_parameters_arrive_as_they_are(con: Cursor, columns: str) -> None:
    query = f"SELECT DISTINCT {columns} FROM keyword_search('toast', 2)"
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
    others = [
        *(
            -1,
            -(2**31),
            2**31,
            2**40,
            -(2**63),
            2**63,
            2**100,
            False,
            True,
            2.5,
            -0.0,
            1e-300,
            float("inf"),
            [1.5, 2.0],
        ),
        *(
            b"\x00'",
            ["a'", "\n"],
            ["a", None],
            date(2024, 2, 29),
            datetime(1, 1, 1),
            datetime(2024, 1, 2, 3, 4, 5, 6),
            NOW,
        ),
        *(datetime.max, date.max, UUID(int=1), Decimal("1.50"), {"a": [1]}, timedelta(1)),
    ]
    for value in (*texts, *others):
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


@pytest.mark.slow
def test_only_so_many_plans_are_kept(con: Cursor) -> None:
    for number in range(CAPACITY + 5):
        for _ in range(2):
            con.execute(f"SELECT {number}, count(*) FROM keyword_search('toast', 1)").fetchall()
    (kept,) = con.execute(PLANS).fetchone()
    assert kept == CAPACITY
    con.execute("SET TimeZone = 'UTC'")
    assert con.execute(PLANS).fetchone() == (0,)


def test_the_macros_that_find_memories_are_those_that_call_what_declares_it(con: Cursor) -> None:
    database = con._duckdb
    assert database is not None
    macros = con.execute(
        "SELECT function_name, macro_definition FROM duckdb_functions() "
        "WHERE macro_definition IS NOT NULL AND NOT internal"
    ).fetchall()
    calls = {
        name: {
            str(node.get("function_name"))
            for node in nodes(tree_of(database, text) or tree_of(database, f"SELECT {text}"))
        }
        for name, text in macros
    }
    found = {each.name for each in registry.FUNCTIONS if each.retrieves}
    while more := {name for name, called in calls.items() if called & found} - found:
        found |= more
    assert {name for name in found if name in calls} == registry.retrieval_macros()
