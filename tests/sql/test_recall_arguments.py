"""Arguments of `recall` in SQL, Python and the shell: filters, and what makes no sense."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import aios_db
from aios_db.cli import main
from aios_db.config import Config
from aios_db.recollection import Options
from aios_db.schema.config import EngineConfig, LinksConfig
from aios_db.schema.filters import CONDITIONS

pytestmark = pytest.mark.sql

ROOM = UUID("01890000-0000-7000-8000-000000000001")
ROWS: list[dict[str, Any]] = [
    {"text": "The spare key hangs in the hall.", "session_id": "s1", "speaker": "Ada", "kind": "message",
     "occurred_at": "2024-01-01", "metadata": {"lang": "en", "page": {"number": 3}}, "importance": 0.9},
    {"text": "The old key is in the shed.", "session_id": "s2", "speaker": "Bo", "kind": "document",
     "source": "a.txt", "occurred_at": "2024-02-01", "metadata": {"lang": "de", "tags": ["x", "y"]}},
    {"text": "A key opens the boathouse.", "session_id": str(ROOM), "tier": "long", "trust": 0.5,
     "occurred_at": "2024-03-01"},
]  # fmt: skip


@pytest.fixture(scope="module")
def database(minilm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    path = tmp_path_factory.mktemp("arguments") / "agent.aios"
    config = Config(
        engine=EngineConfig(models_dir=str(minilm_dir.parent)), links=LinksConfig(reinforce_recalled=False)
    )
    with aios_db.connect(path, config=config) as con:
        con.remember(ROWS)
    return path, config


@pytest.fixture(scope="module")
def con(database: tuple[Path, Config]) -> Iterator[aios_db.Connection]:
    """One connection for all tests, since it refuses to write."""
    with aios_db.connect(database[0], read_only=True, config=database[1]) as connection:
        yield connection


def places(found: list[Any]) -> set[int]:
    texts = [row["text"] for row in ROWS]
    return {texts.index(each if isinstance(each, str) else each.text) for each in found}


# As SQL writes it, as Python does, as the shell does, and which of ROWS pass.
FILTERS: list[tuple[str, dict[str, Any], list[str], set[int]]] = [
    ("session_id := 's1'", {"session_id": "s1"}, ["--session-id", "s1"], {0}),
    ("session_id := ['s1', 's2']", {"session_id": ("s1", "s2")},
     ["--session-id", "s1", "--session-id", "s2"], {0, 1}),
    (f"session_id := '{ROOM}'::UUID", {"session_id": ROOM}, ["--session-id", str(ROOM)], {2}),
    ("session_id := []", {"session_id": []}, ["--session-id", ""], set()),
    ("session_id := [NULL]", {"session_id": [None]}, ["--session-id", "[s1]"], set()),
    ("session_id := NULL", {"session_id": None}, [], {0, 1, 2}),
    ("speaker := 'Ada'", {"speaker": {"Ada"}}, ["--speaker", "Ada"], {0}),
    ("kind := ['document', 'summary']", {"kind": ["document", "summary"]}, ["--kind", "document"], {1}),
    ("source := 'a.txt'", {"source": "a.txt"}, ["--source", "a.txt"], {1}),
    ("tier := 'short'", {"tier": "short"}, ["--tier", "short"], {0, 1}),
    ("modality := 'text'", {"modality": "text"}, ["--modality", "text"], {0, 1, 2}),
    ("modality := 'image'", {"modality": ["image"]}, ["--modality", "image"], set()),
    ("metadata := {'lang': 'en'}", {"metadata": {"lang": "en"}}, ["--metadata", "lang=en"], {0}),
    ("metadata := MAP {'lang': 'de'}", {"metadata": '{"lang": "de"}'}, ["--metadata", '{"lang": "de"}'], {1}),
    ("metadata := '{\"tags\": \"y\"}'", {"metadata": {"tags": "y"}}, ["--metadata", "tags=y"], {1}),
    ("metadata := {'lang': ['en', 'de']}", {"metadata": {"lang": ["en", "de"]}},
     ["--metadata", "lang=en", "--metadata", "lang=de"], {0, 1}),
    ("metadata := {'page': {'number': 3}}", {"metadata": {"page": {"number": np.int64(3)}}},
     ["--metadata", "page.number=3"], {0}),
    ("metadata := MAP {'$.page.number': '3'}", {"metadata": {"$.page.number": 3}},
     ["--metadata", "$.page.number=3"], {0}),
    ("min_importance := 0.9", {"min_importance": 0.9}, ["--min-importance", "0.9"], {0}),
    ("min_trust := 1", {"min_trust": 1}, ["--min-trust", "1"], {0, 1}),
    ("since := '2024-02-01'", {"since": date(2024, 2, 1)}, ["--since", "2024-02-01"], {1, 2}),
    ("since := DATE '2024-02-01', until := '2024-03-01'",
     {"since": datetime(2024, 2, 1), "until": datetime(2024, 3, 1, tzinfo=timezone.utc)},
     ["--since", "2024-02-01", "--until", "2024-03-01"], {1}),
    ("min_score := 1e9", {"min_score": 1e9}, ["--min-score", "1e9"], set()),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "python", "shell", "right"), FILTERS, ids=[sql for sql, *_ in FILTERS])
def test_a_filter_in_sql_python_and_shell(  # noqa: PLR0917
    con: aios_db.Connection,
    database: tuple[Path, Config],
    sql: str,
    python: dict[str, Any],
    shell: list[str],
    right: set[int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = con.execute(f"SELECT text FROM recall('key', {sql})").fetchall()
    assert places([text for (text,) in rows]) == right
    assert places(con.recall("key", **python)) == right
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", database[1].engine.models_dir)
    assert main(["recall", "key", *shell, "--json", "--db", str(database[0])]) == 0
    assert places([row["text"] for row in json.loads(capsys.readouterr().out)]) == right


def test_within_takes_what_a_subquery_selects(con: aios_db.Connection) -> None:
    within = "SELECT text FROM recall('key', within := (SELECT list(memory_id) FROM memories WHERE {}))"
    assert places([row[0] for row in con.execute(within.format("text LIKE '%shed%'")).fetchall()]) == {1}
    assert con.execute(within.format("false")).fetchall() == []  # the list is NULL, and lets nothing pass
    ids = [row[0] for row in con.execute("SELECT memory_id FROM memories").fetchall()]
    assert len(con.recall("key", within=ids[:2])) == 2
    assert con.recall("key", within=["nobody"]) == []
    bound = con.execute(
        "SELECT count(*) FROM recall('key', within := ?, session_id := ?)", [ids, ["s1", "s2"]]
    )
    assert bound.fetchone() == (2,)


def test_a_filter_is_one_value_too(con: aios_db.Connection) -> None:
    for search in ("recall('key', ", "keyword_search('key', 9, ", "vector_search(embed('key'), 9, "):
        where = "filter := memory_filter(session_id := ['s1', 's2']), kind := 'document'"
        assert con.execute(f"SELECT count(*) FROM {search}{where})").fetchone() == (1,)
    with pytest.raises(aios_db.ProgrammingError, match="kind is given twice"):
        con.execute("FROM recall('key', kind := 'x', filter := memory_filter(kind := 'y'))")
    with pytest.raises(aios_db.DataError, match="not JSON"):
        con.execute("FROM recall('key', filter := 'session 1')")


# As SQL writes it, as Python does (None: it cannot), as the shell does (None: it cannot), and what is said.
NONSENSE: list[tuple[str, dict[str, Any] | None, list[str] | None, str]] = [
    ("k := -1", {"k": -1}, ["-k", "-1"], "k is -1|'-k'"),
    ("k := 2.5", {"k": 2.5}, ["-k", "2.5"], "k is 2.5|'-k'"),
    ("k := NULL", None, None, "k is NULL"),
    ("k := 1e30", {"k": 10**30}, None, "k is 1e"),
    ("k := 'many'", {"k": "many"}, ["-k", "many"], "many"),
    ("k := 'nan'::DOUBLE", {"k": float("nan")}, None, "k is nan"),
    ("hops := -1", {"hops": -1}, ["--hops", "-1"], "hops is -1|'--hops'"),
    ("hops := 2.5", {"hops": 2.5}, ["--hops", "2.5"], "hops is 2.5|'--hops'"),
    ("vector_weight := 'nan'::DOUBLE", {"vector_weight": float("nan")},
     ["--vector-weight", "nan"], "vector_weight is nan"),
    ("keyword_weight := -0.5", {"keyword_weight": -0.5},
     ["--keyword-weight", "-0.5"], "keyword_weight is -0.5"),
    ("graph_weight := 'inf'::DOUBLE", {"graph_weight": float("inf")},
     ["--graph-weight", "inf"], "graph_weight is inf"),
    ("recency_weight := NULL", None, None, "recency_weight is NULL"),
    ("recency_days := 0", {"recency_days": 0}, ["--recency-days", "0"], "recency_days is 0"),
    ("min_score := 'nan'::FLOAT", {"min_score": float("nan")}, ["--min-score", "nan"], "min_score is nan"),
    ("tier := 'middle'", {"tier": "middle"}, ["--tier", "middle"], "middle"),
    ("since := 'yesterday-ish'", {"since": "yesterday-ish"}, ["--since", "yesterday-ish"], "yesterday-ish"),
    ("since := 'infinity'", {"since": "infinity"}, ["--since", "infinity"], "infinity"),
    ("since := '2024-02-01', until := '2024-01-01'", {"since": "2024-02-01", "until": "2024-01-01"},
     ["--since", "2024-02-01", "--until", "2024-01-01"], "since is after until"),
    ("min_trust := 7", {"min_trust": 7}, ["--min-trust", "7"], "min_trust is 7|'--min-trust'"),
    ("metadata := 'lang'", {"metadata": "lang"}, ["--metadata", "lang"], "JSON"),
    ("metadata := {'lang': NULL}", {"metadata": {"lang": None}}, ["--metadata", '{"lang": null}'], "NULL"),
    ("colour := 'red'", {"colour": "red"}, ["--colour", "red"], "colour|does not support"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "python", "shell", "says"), NONSENSE, ids=[sql for sql, *_ in NONSENSE])
def test_what_makes_no_sense_is_refused(  # noqa: PLR0917
    con: aios_db.Connection,
    database: tuple[Path, Config],
    sql: str,
    python: dict[str, Any] | None,
    shell: list[str] | None,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = (aios_db.ProgrammingError, aios_db.DataError)
    with pytest.raises(kinds, match=says):
        con.execute(f"SELECT memory_id FROM recall('key', {sql})").fetchall()
    if python is not None:
        with pytest.raises(kinds, match=says):
            con.recall("key", **python)
    if shell is not None:
        monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", database[1].engine.models_dir)
        assert main(["recall", "key", *shell, "--db", str(database[0])]) in (1, 2)
        assert re.search(says, capsys.readouterr().err)


@pytest.mark.parametrize("blank", ["", "   ", "\n\t", "\u00a0\u3000"])
def test_a_blank_query_is_refused(con: aios_db.Connection, blank: str) -> None:
    for ask in (lambda: con.execute("FROM recall(?)", [blank]).fetchall(), lambda: con.recall(blank)):
        with pytest.raises(aios_db.ProgrammingError, match="the query is blank"):
            ask()
    assert main(["recall", blank, "--db", str(con.store.path)]) == 1


def test_nonsense_is_refused_where_there_is_nothing_to_find(
    tmp_path: Path, database: tuple[Path, Config]
) -> None:
    with aios_db.connect(tmp_path / "empty.aios", config=database[1]) as con:
        assert con.recall("key") == []
        for option in ({"k": -1}, {"hops": 0.5}, {"graph_weight": -1}, {"tier": "x"}, {"min_trust": 2}):
            with pytest.raises(aios_db.DatabaseError):
                con.recall("key", **option)  # type: ignore[arg-type]


def test_questions_and_their_number_of_answers_come_from_a_table(con: aios_db.Connection) -> None:
    con.execute(
        "CREATE TABLE questions AS FROM (VALUES (1, 'key', 1, 's1'), (2, 'shed', 3, NULL), "
        "(3, NULL, 2, 's1'), (4, 'boat', 0, NULL)) v(n, content, most, who)"
    )
    rows = con.execute(
        "SELECT n, r.session_id FROM questions, recall(content, k := most, session_id := who) r ORDER BY ALL"
    ).fetchall()
    assert [n for n, _ in rows] == [1, 2, 2, 2]
    assert rows[0] == (1, "s1")
    for wrong in ("-1", "1.5", "NULL::INTEGER"):
        with pytest.raises(aios_db.ProgrammingError, match="k is"):
            con.execute(
                f"SELECT * FROM (VALUES ('key', {wrong})) v(q, most), recall(q, k := most)"
            ).fetchall()
    with pytest.raises(aios_db.ProgrammingError, match="blank"):
        con.execute("SELECT * FROM (VALUES ('key'), (' ')) v(q), recall(q)").fetchall()


@pytest.mark.parametrize(
    "name", ["content", "memory_id", "k", "score", "question", "filter", "weights", "session_id"]
)
def test_a_column_of_the_users_may_have_any_name(con: aios_db.Connection, name: str) -> None:
    rows = con.execute(
        f"SELECT text FROM (SELECT 'shed' AS {name}, 's2' AS who) q, recall(q.{name}, session_id := who)"
    ).fetchall()
    assert rows == [(ROWS[1]["text"],)]


def test_recall_has_every_keyword(con: aios_db.Connection) -> None:
    parameters = inspect.signature(con.recall).parameters
    assert list(parameters) == ["query", "k", "image", "audio", *Options.__annotations__]
    assert set(CONDITIONS) < set(parameters)
    assert "session_id" in str(parameters["session_id"])


def test_a_recollection_says_what_a_filter_asks_for(con: aios_db.Connection) -> None:
    (found,) = con.recall("key", source="a.txt")
    assert (found.kind, found.source, found.importance, found.speaker) == ("document", "a.txt", 0.5, "Bo")
    assert found.metadata == ROWS[1]["metadata"]


@pytest.mark.parametrize("days", [500.0, 5000.0])
def test_recency_falls_to_one_e_th_in_its_days(con: aios_db.Connection, days: float) -> None:
    (memory,) = con.recall("boathouse", k=1, recency_weight=0.1, recency_days=days)
    age = datetime.now(timezone.utc) - datetime(2024, 3, 1, tzinfo=timezone.utc)
    assert memory.recency_score == pytest.approx(np.exp(-age.total_seconds() / 86400 / days), rel=1e-3)
