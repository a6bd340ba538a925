"""`recall` and its parts as SQL, on a plain DuckDB connection over the small tables."""

from __future__ import annotations

import datetime as dt
import re

import duckdb
import numpy as np
import pytest

from aios_db.udfs import functions, macros, registry

pytestmark = pytest.mark.sql


class Words:
    """An encoder whose vectors are counts of a few words, so that nearness can be told by reading."""

    dimension = 8
    words = ("tea", "coffee", "cup", "chess", "king", "walk", "rain", "dog")

    def encode(self, texts):
        counts = np.array([[text.lower().count(word) for word in self.words] for text in texts], np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


class NoJointSpace:
    """There is none: a question in words has no vectors in it."""

    def question(self, text, vector, image, audio):
        return None


class Store:
    """What the functions need of a store."""

    joint = NoJointSpace()

    encoder = Words()

    def __init__(self, tables):
        self._tables = tables
        self.touched = []

    def require(self, table):
        pass

    def touch(self, memory_ids):
        self.touched.append(list(memory_ids))

    def asked(self, text, where, found):
        self.asked_last = text, where, list(found)

    def searched(self, called, items, text):
        pass

    @property
    def index(self):
        return self._tables.index


TEXTS = {
    "m0": "Ann: I drink tea from a blue cup.",
    "m1": "Bob: And I like coffee.",
    "m2": "Ann: Chess is my game, the king above all.",
    "m3": "Bob: The dog wants a walk in the rain.",
    "m4": "Ann: Then let us go.",
    "m5": "Bob: She'll need a raincoat; it's pouring.",
}


@pytest.fixture
def con(tables):
    texts = list(TEXTS.values())
    tables.remember(
        *(
            {
                "memory_id": name, "text": text, "text_embedding": vector, "session_id": f"s{i // 3}",
                "occurred_at": dt.datetime(2024, 1, 1 + i, tzinfo=dt.timezone.utc), "user_id": "u",
            }
            for i, (name, text, vector) in enumerate(zip(TEXTS, texts, Words().encode(texts), strict=True))
        )
    )  # fmt: skip
    tables.link(("m3", "m4", "next_in_session", 1.0), ("m4", "m5", "next_in_session", 1.0))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    store = Store(tables)
    needed = [each for each in registry.FUNCTIONS if not each.writes]
    functions.install(connection, needed, lambda: store, 8, functions.ErrorBook())
    columns = "memory_id, media_type, media_uri, audio_uri, created_at, joint_weight_version"
    connection.execute(f"CREATE TABLE memories ({columns.replace(',', ' VARCHAR,')} VARCHAR)")  # for a view
    topics = ("embed", "multimodal", "recall")
    macros.create(connection, [item for topic in topics for item in macros.load(topic)], None)
    yield connection
    connection.close()


def test_recall_returns_the_best_with_its_parts(con):
    rows = con.execute(
        "SELECT memory_id, text, score, vector_score, keyword_score, graph_score, recency_score, hops, "
        "session_id FROM recall('Who walks the dog?', k := ?)",
        [3],
    ).fetchall()
    assert [row[0] for row in rows][:2] == ["m3", "m4"]
    _, text, score, vector, keyword, graph, recency, hops, session = rows[0]
    assert (text, hops, session) == (TEXTS["m3"], 0, "s1")
    assert score == pytest.approx(1.5 * vector + keyword + graph)
    assert vector > 1 < keyword
    assert 0 <= recency < 1
    assert rows[1][5] == pytest.approx(0.25 * (1.5 * vector + keyword))  # m4 only through its link


def test_columns_and_their_order(con):
    description = con.execute("SELECT * FROM recall('tea')").description
    assert [column[0] for column in description] == [
        "memory_id", "text", "score", "vector_score", "keyword_score", "graph_score", "recency_score", "hops",
        "joint_score", "kind", "title", "media_uri", "media_type", "modalities", "text_weight_version",
        "session_id", "agent_id", "user_id", "speaker", "occurred_at", "created_at", "tier", "access_count",
        "last_access_at", "importance", "source", "trust", "derived_from", "metadata",
        "external_id", "occurrences", "valid_until", "superseded_by", "expires_at", "pinned",
        "audio_uri", "joint_weight_version",
    ]  # fmt: skip


def test_filters(con):
    found = "SELECT list(memory_id) FROM recall('rain and tea', {})"
    assert con.execute(found.format("session_id := 's0'")).fetchone()[0][0] == "m0"
    assert set(con.execute(found.format("session_id := ?"), ["s1"]).fetchone()[0]) == {"m3", "m4", "m5"}
    since = found.format("since := '2024-01-02', until := TIMESTAMP '2024-01-04'")
    assert set(con.execute(since).fetchone()[0]) == {"m1", "m2"}
    assert con.execute(found.format("user_id := 'other'")).fetchone()[0] is None
    injection = con.execute(found.format("session_id := ?"), ["s0' OR 1=1 --"]).fetchone()[0]
    assert injection is None


def test_weights_and_hops(con):
    by_time = (
        "SELECT memory_id FROM recall('tea', vector_weight := 0, keyword_weight := 0, recency_weight := 1)"
    )
    assert con.execute(by_time).fetchall()[0] == ("m5",)
    plain = con.execute(
        "SELECT memory_id, hops FROM recall('dog', hops := 0) ORDER BY graph_score DESC"
    ).fetchall()
    assert plain[0][1] == 0
    assert con.execute("SELECT max(graph_score) FROM recall('dog', graph_weight := 0)").fetchone()[0] > 0


def test_every_part_alone(con):
    best = con.execute("SELECT * FROM vector_search(embed('dog walk'), 2)").fetchall()
    assert best[0][0] == "m3"
    assert con.execute("SELECT memory_id FROM keyword_search('raincoat', 5)").fetchall() == [("m5",)]
    spread = "SELECT memory_id, graph_score, distance FROM spread(['m3'], [1.0], hops := 2) ORDER BY distance"
    assert con.execute(spread).fetchall() == [
        ("m3", pytest.approx(0.0625), 0),
        ("m4", 0.25, 1),
        ("m5", 0.0625, 2),
    ]
    assert con.execute("SELECT * FROM neighbors('m3', hops := 2)").fetchall() == [("m4", 1), ("m5", 2)]
    assert con.execute("SELECT count(*) FROM neighbors('nobody')").fetchone() == (0,)
    assert con.execute("SELECT text FROM memories_by_id(['m2', 'nobody', 'm0'])").fetchall() == [
        (TEXTS["m2"],),
        (TEXTS["m0"],),
    ]
    scores = con.execute("SELECT memory_id FROM score_memories(embed('tea'), 'tea', ['m1', 'm0'])").fetchall()
    assert scores == [("m1",), ("m0",)]


def test_a_search_scores_what_it_finds_for_the_other_search_too(con):
    scored = "SELECT * FROM score_memories(embed('tea rain'), 'tea rain', ?)"
    both = {name: scores for name, *scores in con.execute(scored, [list(TEXTS)]).fetchall()}
    near = "FROM vector_search(embed('tea rain'), 6, content := 'tea rain')"
    found = con.execute(f"SELECT memory_id, standard_score, keyword_score {near}").fetchall()
    assert len(found) == 6
    assert {name: pytest.approx(scores) for name, *scores in found} == both
    matching = "FROM keyword_search('tea rain', 6, vector := embed('tea rain'))"
    found = con.execute(f"SELECT memory_id, vector_score, standard_score {matching}").fetchall()
    assert 0 < len(found) < 6
    assert {name: pytest.approx(scores) for name, *scores in found}.items() <= both.items()
    alone = "SELECT keyword_score FROM vector_search(embed('tea rain'), 1)"
    assert con.execute(alone).fetchall() == [(None,)]
    alone = "SELECT vector_score FROM keyword_search('tea', 1)"
    assert con.execute(alone).fetchall() == [(None,)]


def test_spread_says_which_of_the_given_a_memory_is(con):
    given = "['m4', 'nobody', 'm3', 'm4'], [2, 9, 1, 0]"
    spread = f"SELECT memory_id, given, graph_score FROM spread({given}, hops := 1)"
    found = {name: (given, score) for name, given, score in con.execute(spread).fetchall()}
    assert {name: given for name, (given, _) in found.items()} == {"m3": 3, "m4": 1, "m5": None}
    assert found["m3"][1] == 0.5  # of the first m4, not of the second
    assert con.execute("SELECT * FROM spread(['nobody'], [1.0])").fetchall() == []


def test_spread_leaves_the_strongest(con):
    spread = "SELECT memory_id, distance FROM spread(['m3'], [1.0], hops := 2"
    everything = con.execute(f"{spread}) ORDER BY graph_score DESC, memory_id").fetchall()
    reached = [row for row in everything if row[1] > 0]
    assert len(reached) > 1
    for most in (0, 1, len(reached), 1000):
        rows = con.execute(f"{spread}, most := ?)", [most]).fetchall()
        assert sorted(rows) == sorted([("m3", 0), *reached[:most]])


def test_an_analysts_own_retrieval(con):
    con.execute("CREATE TABLE mine AS SELECT 'm0' AS memory_id, 'blue' AS colour")
    own = """
        WITH hits AS (SELECT memory_id, standard_score FROM keyword_search('cup of tea', 10))
        SELECT colour, standard_score FROM hits JOIN mine USING (memory_id)"""
    rows = con.execute(own).fetchall()
    assert rows[0][0] == "blue"
    assert rows[0][1] > 1


def test_explain_shows_the_steps(con):
    plan = con.execute("EXPLAIN SELECT * FROM recall('tea')").fetchall()[0][1]
    for step in ("asked", "candidates", "fused", "reached", "ranked"):
        assert re.search(rf"\b{step}\b", plan)


@pytest.mark.parametrize("query", ["\0", "'; DROP TABLE x; --", "the of", "\U0001f600", "x" * 1_000_000])
def test_strange_queries_give_an_answer(con, query):
    rows = con.execute("SELECT memory_id, score FROM recall(?)", [query]).fetchall()
    assert len(rows) == 6
    assert all(np.isfinite(score) for _, score in rows)


def test_k_at_its_limits(con):
    count = "SELECT count(*) FROM recall('tea', k := ?)"
    assert con.execute(count, [0]).fetchone() == (0,)
    assert con.execute(count, [1_000_000]).fetchone() == (6,)
    with pytest.raises(duckdb.Error, match="negative"):
        con.execute(count, [-1]).fetchone()
    assert con.execute("SELECT count(*) FROM recall(NULL)").fetchone() == (0,)


def test_bad_vectors(con):
    with pytest.raises(duckdb.Error, match="3 numbers, the memories have 8"):
        con.execute("SELECT * FROM vector_search([1, 2, 3], 5)").fetchall()
    with pytest.raises(duckdb.Error, match="NaN"):
        con.execute("SELECT * FROM vector_search([1, 2, 3, 4, 5, 6, 7, 'NaN'::FLOAT], 5)").fetchall()
    with pytest.raises(duckdb.Error, match="NaN"):
        con.execute("SELECT * FROM vector_search([1, 2, 3, 4, 5, 6, 7, NULL], 5)").fetchall()
    with pytest.raises(duckdb.Error, match="2 ids and 1 scores"):
        con.execute("SELECT * FROM spread(['m1', 'm2'], [1.0])").fetchall()


def test_ties_are_stable(con):
    first = con.execute("SELECT memory_id, score FROM recall('zzz', k := 6)").fetchall()
    assert first == sorted(first, key=lambda row: (-row[1], row[0]))
    assert first == con.execute("SELECT memory_id, score FROM recall('zzz', k := 6)").fetchall()


FUNCTIONS_OF_STEPS = {
    "vector": "SELECT * FROM vector_search(embed('dog'), 9, content := 'dog')",
    "keyword": "SELECT * FROM keyword_search('dog', 9, vector := embed('dog'))",
    "given": "SELECT * FROM score_memories(embed('dog'), 'dog', ['m3', 'm4'])",
    "links": "SELECT memory_id, graph_score FROM spread(['m3', 'm4'], [1.0, 0.5])",
    "neighbors": "SELECT * FROM neighbors('m4')",
    "rows": "SELECT memory_id, text FROM memories_by_id(['m3', 'm4'])",
}


@pytest.mark.parametrize("name", FUNCTIONS_OF_STEPS)
def test_the_steps_of_a_function_see_one_state(con, tables, monkeypatch, name):
    index, wanted = tables.index, con.execute(FUNCTIONS_OF_STEPS[name]).fetchall()
    pinned = index.pinned

    def before_a_write():
        found = pinned()
        tables.forget("m3")
        return found

    version = index.version
    with monkeypatch.context() as patch:
        patch.setattr(index, "pinned", before_a_write)
        assert str(con.execute(FUNCTIONS_OF_STEPS[name]).fetchall()) == str(wanted)
    assert index.version != version
    assert str(con.execute(FUNCTIONS_OF_STEPS[name]).fetchall()) != str(wanted)
