"""`recall` end to end: real texts, the real model, SQL, Python and an attached connection."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pytest

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, RecallConfig

pytestmark = pytest.mark.sql

TURNS = [
    ("s1", "Ada", "I moved to Lisbon in March and rent a flat above a bakery.", "2024-03-02"),
    ("s1", "Ben", "Lovely! How is the bread?", "2024-03-02"),
    ("s1", "Ada", "Dangerous. I eat a custard tart every morning before work.", "2024-03-02"),
    ("s2", "Ben", "My daughter Clara started learning the cello.", "2024-05-11"),
    ("s2", "Ada", "Who teaches her?", "2024-05-11"),
    ("s2", "Ben", "Mr Okafor from the conservatory, every Tuesday.", "2024-05-11"),
    ("s3", "Ada", "The landlord wants to sell, so I am looking for a new place.", "2024-09-20"),
    ("s3", "Ben", "Mr Okafor has a spare room, ask him.", "2024-09-20"),
]


@pytest.fixture(scope="module")
def database(minilm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    path = tmp_path_factory.mktemp("recall") / "agent.aios"
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(path, config=config) as con:
        con.remember(
            [
                {"text": text, "session_id": session, "speaker": speaker, "occurred_at": day, "user_id": "u1"}
                for session, speaker, text, day in TURNS
            ]
        )
        con.remember("A cello has four strings.", user_id="u2")
    return path, config


@pytest.fixture(scope="module")
def con(database: tuple[Path, Config]) -> Iterator[aios_db.Connection]:
    """One connection for all tests, since it refuses to write."""
    with aios_db.connect(database[0], read_only=True, config=database[1]) as connection:
        yield connection


def test_the_best_answer_comes_first_with_the_parts_of_its_score(con: aios_db.Connection) -> None:
    first, *rest = con.recall("Who gives the cello lessons?", k=3, user_id="u1")
    assert len(rest) == 2
    assert first.score >= rest[0].score >= rest[1].score
    texts = [each.text for each in (first, *rest)]
    assert any("Okafor from the conservatory" in text for text in texts)
    assert any("Clara started learning the cello" in text for text in texts)
    assert all(each.user_id == "u1" for each in (first, *rest))


def test_sql_and_python_agree(con: aios_db.Connection) -> None:
    rows = con.execute("SELECT memory_id, score FROM recall(?, k := ?)", ["bread in Lisbon", 4]).fetchall()
    found = con.recall("bread in Lisbon", k=4)
    assert [each.memory_id for each in found] == [memory_id for memory_id, _ in rows]
    # NumPy, which multiplies where nothing is compiled, adds in another order in an index of another size.
    assert [each.score for each in found] == pytest.approx([score for _, score in rows], rel=1e-6)
    assert len(rows) == 4


def test_recall_has_the_promised_columns(con: aios_db.Connection) -> None:
    cursor = con.execute("SELECT * FROM recall('cello')")
    names = [column[0] for column in cursor.description or []]
    assert names[:8] == [
        "memory_id", "text", "score", "vector_score", "keyword_score", "graph_score", "recency_score", "hops",
    ]  # fmt: skip
    assert {"title", "kind", "session_id", "speaker", "occurred_at", "created_at", "tier", "metadata"} <= set(
        names
    )


def test_filters_apply_before_the_cut(con: aios_db.Connection) -> None:
    (only,) = con.recall("cello lessons in the conservatory", k=5, user_id="u2")
    assert only.text == "A cello has four strings."
    in_spring = con.recall(
        "Mr Okafor", k=10, since=datetime(2024, 5, 1, tzinfo=timezone.utc), until="2024-06-01"
    )
    assert {each.session_id for each in in_spring} == {"s2"}
    assert [each.session_id for each in con.recall("Mr Okafor", k=10, session_id="s3")] == ["s3", "s3"]
    assert con.recall("Mr Okafor", tier="archived") == []


def test_weights_choose_what_counts(con: aios_db.Connection) -> None:
    keyword = con.recall("Okafor", k=2, vector_weight=0.0, graph_weight=0.0)
    assert {each.text for each in keyword} == {text for _, _, text, _ in TURNS if "Okafor" in text}
    vector = con.recall("musical instrument", k=1, keyword_weight=0.0, graph_weight=0.0)
    assert "cello" in vector[0].text


def test_the_result_joins_with_the_users_tables(con: aios_db.Connection) -> None:
    con.execute(
        "CREATE TABLE people AS SELECT * FROM (VALUES ('Ada', 'Lisbon'), ('Ben', 'Porto')) v(name, city)"
    )
    rows = con.execute(
        "SELECT text, city FROM recall('custard tart', k := 1) JOIN people ON speaker = name"
    ).fetchall()
    assert rows == [("Dangerous. I eat a custard tart every morning before work.", "Lisbon")]


@pytest.mark.parametrize("schema", ["main", "aios"])
def test_recall_in_the_users_own_duckdb(database: tuple[Path, Config], schema: str) -> None:
    prefix = "" if schema == "main" else f"{schema}."
    with duckdb.connect() as mine:
        aios_db.attach(mine, database[0], schema, read_only=True, config=database[1])
        row = mine.execute(f"SELECT text FROM {prefix}recall('custard tart', k := 1)").fetchone()
        assert row == ("Dangerous. I eat a custard tart every morning before work.",)
        vector = mine.execute(f"SELECT len({prefix}embed('x'))").fetchone()
        assert vector == (384,)
        aios_db.detach(mine)


def test_a_query_without_words_has_a_keyword_score_of_nothing_and_not_no_score(
    con: aios_db.Connection,
) -> None:
    found = con.execute(
        "SELECT vector_score, keyword_score, score - graph_score FROM recall('?', k := 6)"
    ).fetchall()
    assert found
    assert all(keyword == 0 and rest == pytest.approx(1.5 * vector) for vector, keyword, rest in found)
    assert any(vector != 0 for vector, _, _ in found)


def test_explain_shows_the_steps(con: aios_db.Connection) -> None:
    plan = con.execute("EXPLAIN SELECT * FROM recall('cello')").fetchall()[0][1]
    for step in ("asked", "candidates", "fused", "reached", "ranked"):
        assert step in plan


@pytest.mark.parametrize("query", ["'; DROP TABLE memories; --", "\x00", "🦆🦆", "x" * 1_000_000, "?!"])
def test_odd_queries_are_answered(con: aios_db.Connection, query: str) -> None:
    assert len(con.recall(query, k=3)) <= 3


def test_odd_k(con: aios_db.Connection) -> None:
    assert con.recall("cello", k=0) == []
    assert len(con.recall("cello", k=1_000_000)) == len(TURNS) + 1
    with pytest.raises(aios_db.ProgrammingError, match="negative"):
        con.recall("cello", k=-1)


def test_wrong_options_are_named(con: aios_db.Connection) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="colour"):
        con.recall("cello", colour="red")
    with pytest.raises(aios_db.ProgrammingError, match="int"):
        con.recall(7)  # type: ignore[arg-type]


def test_recalling_from_an_empty_database_finds_nothing(minilm_dir: Path, tmp_path: Path) -> None:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "empty.aios", config=config) as con:
        assert con.recall("anything") == []


def test_what_is_recalled_together_is_counted_and_linked(minilm_dir: Path, tmp_path: Path) -> None:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        con.remember([{"text": "The cello needs a new bow."}, {"text": "Violins are small."}])
        con.execute("SELECT * FROM recall('cello bow', k := 2)").fetchall()
        con.recall("cello bow", k=2)
        con.store.optimize()
        counts = con.execute("SELECT access_count FROM memories ORDER BY memory_id").fetchall()
        assert counts == [(2,), (2,)]
        links = con.execute(
            "SELECT evidence_count, round(weight::DOUBLE, 2) FROM association_links "
            "WHERE kind = 'recalled_together'"
        ).fetchall()
        assert links == [(2, 0.19)]


def test_the_configuration_gives_the_defaults(database: tuple[Path, Config]) -> None:
    config = replace(database[1], recall=RecallConfig(k=2, vector_weight=0.0, graph_weight=0.0))
    with aios_db.connect(database[0], read_only=True, config=config) as con:
        found = con.execute("SELECT text FROM recall('Okafor')").fetchall()
        expected = [text for _, _, text, _ in TURNS if "Okafor" in text]
        assert sorted(text for (text,) in found) == sorted(expected)
        assert [(each.text,) for each in con.recall("Okafor")] == found
        assert len(con.recall("Okafor", k=3, vector_weight=1.0)) == 3


def test_questions_of_a_table_are_answered_each_for_itself(minilm_dir: Path) -> None:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(":memory:", config=config) as con:
        ids = con.remember([{"text": text} for _, _, text, _ in TURNS])
        con.execute("CREATE TABLE questions (n INTEGER, question VARCHAR)")
        con.executemany(
            "INSERT INTO questions VALUES (?, ?)",
            [(1, "custard tart"), (2, "the cello"), (3, None), (4, "a spare room")],
        )
        rows = con.execute(
            "SELECT n, memory_id FROM questions, recall(question, k := 2) ORDER BY n, score DESC"
        ).fetchall()
        assert [n for n, _ in rows] == [1, 1, 2, 2, 4, 4]
        assert [name for _, name in rows[::2]] == [ids[2], ids[3], ids[7]]
        con.store.optimize()
        together = con.execute(
            "SELECT source_id, target_id FROM association_links WHERE kind = 'recalled_together'"
        ).fetchall()
        pairs = [tuple(sorted(name for n, name in rows if n == each)) for each in (1, 2, 4)]
        assert {tuple(sorted(pair)) for pair in together} == set(pairs)


def test_a_process_that_does_not_close_its_temporary_database_ends_quietly() -> None:
    program = """
import aios_db
con = aios_db.connect(":memory:")
con.remember([{"text": f"boat {i}", "text_embedding": [1.0] + 383 * [0.0]} for i in range(200)])
con.execute("SELECT count(*) FROM keyword_search('boat', 5)").fetchall()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_recalling_leaves_the_rows_of_a_statement_alone(con: aios_db.Connection) -> None:
    seen = [
        (text, con.recall(text, k=1)[0].text)
        for (text,) in con.execute("SELECT text FROM memories ORDER BY memory_id")
    ]
    assert seen == [(text, text) for text in [*(turn[2] for turn in TURNS), "A cello has four strings."]]


def test_times_without_a_zone_are_utc(database: tuple[Path, Config]) -> None:
    # Without access to files the configuration is locked, the time zone with it.
    with aios_db.connect(database[0], read_only=True, external_access=True, config=database[1]) as con:
        for zone in ("UTC", "America/New_York"):
            con.execute(f"SET TimeZone = '{zone}'")
            for since in ("2024-09-20", "2024-09-20T00:00", datetime(2024, 9, 20)):
                assert {each.session_id for each in con.recall("room", since=since, user_id="u1")} == {"s3"}


def test_what_sql_remembers_may_be_written_as_text(minilm_dir: Path) -> None:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(":memory:", config=config) as con:
        con.execute(
            "SELECT remember('tea', occurred_at := '2024-05-01T10:00', importance := '0.25', session_id := 7)"
        )
        row = con.execute("SELECT occurred_at, importance, session_id FROM memories").fetchone()
        assert row == (datetime(2024, 5, 1, 10, tzinfo=timezone.utc), 0.25, "7")
        with pytest.raises(aios_db.DataError, match="junk"):
            con.execute("SELECT remember('tea', occurred_at := 'junk')")
