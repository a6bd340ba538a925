"""Whatever happened to a database, its index answers as one that is built anew from its tables."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, StorageConfig
from aios_db.schema.errors import IntegrityError, ProgrammingError
from aios_db.search.index import SearchIndex

DIMENSION = 12
WORDS = ("tea", "coffee", "chess", "rain", "dog", "Berlin", "Ada Lovelace", "42", "the", "walks")
LONG = bool(os.environ.get("AIOS_LONG_TESTS"))  # runs for minutes, and makes what fails small


class Words:
    """Vectors that count words: near is what shares them. MiniLM would take most of the time of the test."""

    dimension = DIMENSION
    version = "words@000000000000"

    def encode(self, texts: Any) -> np.ndarray:
        vectors = np.array([[1.0, len(text) % 3, *map(text.count, WORDS)] for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def connect(path: Path) -> aios_db.Connection:
    config = Config(
        engine=EngineConfig(models_dir=str(path.parent / "no models")),
        # What a thread would do some time later is done by a rule.
        storage=StorageConfig(dimension=DIMENSION, maintenance_delay_s=3600, compact_after_fragments=8),
    )
    connection = aios_db.connect(path, config=config)
    connection.store.database.texts.given = Words()
    return connection


def rebuilt(connection: aios_db.Connection) -> SearchIndex:
    """An index of the same versions of the tables, made from nothing."""
    index = SearchIndex.open(None, DIMENSION)
    index.sync(connection.store.memories, connection.store.links)
    return index


def answers(connection: aios_db.Connection, index: SearchIndex) -> dict[str, list[tuple[Any, ...]]]:
    """What the connection's SQL gives over an index, and the statistics behind it."""
    store = connection.store
    live = store.database.snapshot
    store.database.snapshot = live.moved(index=index)
    counted, store.touch = store.touch, lambda memory_ids: None
    try:
        found: dict[str, list[tuple[Any, ...]]] = {"size": [(len(index),)]}
        for word in WORDS:
            hits = index.keyword_search(word, 100)
            found[f"{word}: moments"] = [(hits.mean, hits.std)]
            found[word] = connection.execute(
                "SELECT memory_id, score, standard_score FROM keyword_search(?, 100)", [word]
            ).fetchall()
        for text in ("tea in the rain", "Ada Lovelace walks dogs in Berlin"):
            vector = Words().encode([text])[0].tolist()
            found[f"{text}: vectors"] = connection.execute(
                "SELECT memory_id, score, standard_score FROM vector_search(?, 100)", [vector]
            ).fetchall()
            found[f"{text}: recall"] = connection.execute(
                "SELECT memory_id, score, vector_score, keyword_score, graph_score, text, title, session_id "
                "FROM recall(?, k := 8, hops := 2)",
                [text],
            ).fetchall()
        ids = sorted(row[0] for row in connection.execute("SELECT memory_id FROM memories").fetchall())
        found["spread"] = connection.execute(
            "SELECT memory_id, graph_score, distance FROM spread(?, ?, 2) ORDER BY memory_id",
            [ids[::2], [1.0] * len(ids[::2])],
        ).fetchall()
        found["labels"] = [(text, *index.kinship.labelled(_label(text), 100)) for text in ("berlin", "42")]
        return found
    finally:
        store.database.snapshot = live
        store.touch = counted


def _label(name: str) -> int:
    from aios_db.search.labels import name_label

    return name_label(name)


def assert_equal(live: dict[str, list[tuple[Any, ...]]], anew: dict[str, list[tuple[Any, ...]]]) -> None:
    assert live.keys() == anew.keys()
    for asked, rows in live.items():
        assert len(rows) == len(anew[asked]), asked
        for row, other in zip(_settled(rows), _settled(anew[asked]), strict=True):
            for one, two in zip(row, other, strict=True):
                if isinstance(one, float):
                    assert one == pytest.approx(two, rel=1e-6, abs=1e-6), (asked, row, other)
                else:
                    assert one == two, (asked, row, other)


def _settled(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in an order that the last bit of a score does not change."""
    floats = [number for number, value in enumerate(rows[0]) if isinstance(value, float)] if rows else []
    return sorted(rows, key=lambda row: ([-round(row[number], 5) for number in floats[:1]], str(row[0])))


class Database(RuleBasedStateMachine):
    """Two connections of one database do what users do."""

    memories = Bundle("memories")

    @initialize()
    def open(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "agent.aios"
        self.connections = [connect(self.path), connect(self.path)]
        self.model: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "connections"):
            self.compare()
            for connection in self.connections:
                connection.close()
            self.directory.cleanup()

    writers = st.integers(0, 1)
    texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
    one_of_few = st.sampled_from([None, "a", "b"])

    @rule(
        target=memories, writer=writers, given=st.lists(texts, min_size=1, max_size=4), session=one_of_few,
        user=one_of_few, title=st.sampled_from([None, "Berlin", "Tea"]),
    )  # fmt: skip
    def remember(self, writer, given, session, user, title):
        rows = [{"text": text, "session_id": session, "user_id": user, "title": title} for text in given]
        ids = self.connections[writer].remember(rows)
        for memory_id, text in zip(ids, given, strict=True):
            self.model[memory_id] = f"{title or ''} {text}"
        return multiple(*dict.fromkeys(ids))

    @rule(writer=writers, query=texts, k=st.integers(1, 6))
    def recall(self, writer, query, k):
        found = self.connections[writer].recall(query, k=k)
        assert {hit.memory_id for hit in found} <= self.model.keys()

    @rule(writer=writers, memory=consumes(memories))
    def forget(self, writer, memory):
        gone = self.connections[writer].forget(memory)
        assert gone == (self.model.pop(memory, None) is not None)

    @rule(writer=writers, one=memories, other=memories, weight=st.sampled_from([0.25, 0.5, 1.0]))
    def link(self, writer, one, other, weight):
        if one != other and {one, other} <= self.model.keys():
            with suppress(ProgrammingError):  # they may be of different users
                self.connections[writer].link(one, other, weight=weight)

    @rule(
        writer=writers, memory=memories, text=texts, session=one_of_few, title=st.sampled_from([None, "Tea"])
    )
    def update(self, writer, memory, text, session, title):
        if memory in self.model:
            try:
                self.connections[writer].update(memory, text=text, session_id=session, title=title)
            except IntegrityError:  # another memory says that already
                return
            self.model[memory] = f"{title or ''} {text}"

    @rule(writer=writers, memory=memories, tier=st.sampled_from(["short", "long"]))
    def move(self, writer, memory, tier):
        if memory in self.model:
            self.connections[writer].update(memory, tier=tier)

    @rule(writer=writers)
    def maintain(self, writer):
        self.connections[writer].store.maintain()

    @rule(writer=writers)
    def save(self, writer):
        self.connections[writer].store.refresh()
        self.connections[writer].store.index.save()

    @rule(writer=writers)
    def optimize(self, writer):
        self.connections[writer].store.optimize()

    @rule(writer=writers)
    def reopen(self, writer):
        self.connections[writer].close()
        self.connections[writer] = connect(self.path)

    @precondition(lambda self: self.model)
    @rule()
    def compare(self):
        for connection in self.connections:
            connection.store.refresh()
            live = answers(connection, connection.store.index)
            assert_equal(live, answers(connection, rebuilt(connection)))
            for word in ("tea", "coffee", "42"):
                holders = {name for name, text in self.model.items() if word in text.lower().split()}
                assert {row[0] for row in live[word]} == holders
            assert live["size"] == [(len(self.model),)]


def test_a_rebuilt_index_answers_as_the_live_one() -> None:
    run_state_machine_as_test(
        Database,
        settings=settings(
            max_examples=200 if LONG else 8,
            stateful_step_count=60 if LONG else 25,
            phases=list(Phase) if LONG else [Phase.reuse, Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def con(tmp_path):
    with connect(tmp_path / "agent.aios") as connection:
        yield connection


def test_recall_does_not_wear_out_what_it_reads(con, tmp_path):
    con.remember([{"text": f"tea in the rain {number}"} for number in range(200)])
    wanted = con.remember("the word XK7731 is here once")

    def score() -> float:
        ((memory_id, found),) = con.execute(
            "SELECT memory_id, score FROM keyword_search('XK7731', 1)"
        ).fetchall()
        assert memory_id == wanted
        return found

    first, terms = score(), len(con.store.index.parts[1].terms.triples()[0])
    for _ in range(25):
        assert con.recall("XK7731", k=5)[0].memory_id == wanted
        con.store.maintain()
    assert score() == pytest.approx(first, rel=1e-6)
    assert con.store.index.growing_rows == 201
    assert len(con.store.index.parts[1].terms.triples()[0]) == terms
    con.store.maintain()
    shutil.copytree(tmp_path / "agent.aios", tmp_path / "copy.aios", ignore=shutil.ignore_patterns("index"))
    with connect(tmp_path / "copy.aios") as copy:
        assert_equal(answers(con, con.store.index), answers(copy, copy.store.index))


@pytest.mark.parametrize("saved", [False, True])
def test_a_changed_text_is_found_by_its_new_words_only(con, saved):
    """As another process that exchanges rows would do it."""
    one, two = con.remember([{"text": "tea in Berlin", "title": "Tea"}, {"text": "coffee"}])
    store = con.store
    if saved:
        store.index.save()
    rows = store.memories.to_table(filter=f"memory_id = '{one}'")
    for name, value in (("text", "chess 42"), ("title", None), ("content_hash", "0" * 64)):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), pa.array([value], pa.string()))
    old_hash = store.memories.to_table(filter=f"memory_id = '{one}'")["content_hash"].to_pylist()
    store.memories.checkout_version(store.memories.version).merge_insert(
        "memory_id"
    ).when_matched_update_all().execute(rows)
    store.refresh()
    assert_equal(answers(con, store.index), answers(con, rebuilt(con)))
    assert store.index.find_content(old_hash).tolist() == [-1]
    assert store.index.find_content(["0" * 64]).tolist() == store.index.find_ids([one]).tolist()
    assert con.execute("SELECT memory_id FROM keyword_search('tea', 5)").fetchall() == []
    store.index.save()
    assert_equal(answers(con, store.index), answers(con, rebuilt(con)))
    assert store.index.find_content(old_hash).tolist() == [-1]
    assert con.remember({"text": "tea in Berlin", "title": "Tea"}["text"], title="Tea") not in (one, two)


def test_forgotten_memories_leave_nothing_in_the_next_segment(con):
    ids = con.remember([{"text": f"tea number {number}", "title": "Tea"} for number in range(50)])
    con.store.index.save()
    con.forget(ids[5:])
    assert_equal(answers(con, con.store.index), answers(con, rebuilt(con)))
    con.store.index.save()
    segment = con.store.index.parts[0]
    assert len(segment.arrays["id_rows"]) == len(segment.arrays["hash_rows"]) == len(segment) == 5
    assert_equal(answers(con, con.store.index), answers(con, rebuilt(con)))
