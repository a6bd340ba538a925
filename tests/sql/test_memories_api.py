"""Remember, get, update and forget through the public interface, with the real model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

import aios_db
from aios_db import IntegrityError, ProgrammingError
from aios_db.config import Config
from aios_db.schema.config import EngineConfig

pytestmark = pytest.mark.sql


@pytest.fixture
def con(tmp_path: Path, minilm_dir: Path) -> Iterator[aios_db.Connection]:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
        yield connection


def test_an_updated_memory_answers_by_its_new_words_only(con: aios_db.Connection) -> None:
    key, cat = con.remember(["The key is under the pot.", "The cat sleeps."])
    con.link(key, cat)
    assert con.update(key, text="The bicycle stands in the shed.", metadata={"checked": True}) == 1
    (first,) = con.recall("where is the bike?", k=1)
    assert (first.memory_id, first.text) == (key, "The bicycle stands in the shed.")
    assert con.execute("SELECT count(*) FROM keyword_search('pot', 5)").fetchall() == [(0,)]
    memory = con.get(key)
    assert memory is not None
    assert (memory.metadata, memory.kind, memory.occurrences) == ({"checked": True}, "message", 1)
    assert memory.text_embedding is not None and memory.text_embedding.shape == (384,)
    assert con.execute("SELECT target_id FROM association_links WHERE kind = 'user'").fetchall() == [(cat,)]


def test_get_returns_what_was_given(con: aios_db.Connection) -> None:
    when = datetime(2024, 5, 1, 10, tzinfo=timezone.utc)
    given = {
        "title": "T", "kind": "note", "session_id": "s", "agent_id": "a", "user_id": "u", "speaker": "Ada",
        "occurred_at": when, "tier": "long", "importance": 0.25, "source": "x.txt", "trust": 0.5,
        "derived_from": ["p", "q"], "metadata": {"n": [1, {"ü": None}]}, "external_id": "e",
        "media": b"\x00\xff", "media_type": "image/png", "media_uri": "file:///x.png",
    }  # fmt: skip
    memory_id = con.remember({"text": "hello", **given})
    memory = con.get(memory_id)
    assert memory is not None
    assert {name: getattr(memory, name) for name in given} == given
    assert con.get(external_id="e", user_id="u", agent_id="a") == memory
    assert con.get(external_id="e") is None and con.get("nothing") is None
    assert con.get([memory_id, "nothing"]) == [memory, None]
    for wrong in ({}, {"memory_id": memory_id, "external_id": "e"}):
        with pytest.raises(ProgrammingError, match="get: give a memory_id"):
            con.get(**wrong)  # type: ignore[call-overload]


def test_updates_that_make_no_sense(con: aios_db.Connection) -> None:
    first, second = con.remember(["a", "b"])
    with pytest.raises(ProgrammingError, match="nothing to change"):
        con.update(first)
    with pytest.raises(ProgrammingError, match="no memory 0193"):
        con.update("0193", text="x")
    with pytest.raises(ProgrammingError, match="update has no column 'colour'"):
        con.update(first, colour="red")
    with pytest.raises(IntegrityError, match="would be the same"):
        con.update(second, text="a")
    with pytest.raises(ProgrammingError, match="both as an argument and as a column"):
        con.update([{"memory_id": first, "tier": "long"}], tier="short")
    assert con.update([{"memory_id": first}, {"memory_id": second, "tier": "short"}], importance=0.75) == 2
    assert con.execute("SELECT DISTINCT tier, importance FROM memories").fetchall() == [("short", 0.75)]


def test_rows_of_many_kinds_are_updated(con: aios_db.Connection) -> None:
    ids = con.remember([f"text {n}" for n in range(3)])
    changed = con.execute("SELECT memory_id, 'long' AS tier FROM memories").arrow()
    assert con.update(changed) == 3
    assert con.update(changed.to_pandas().assign(tier="archived")) == 3
    assert [each.tier for each in con.get(ids) if each] == ["archived"] * 3


def test_forget_by_what_memories_are(con: aios_db.Connection) -> None:
    for user in ("ada", "bo"):
        for session in ("s1", "s2"):
            con.remember("old", user_id=user, session_id=session, occurred_at="2020-01-01", source="a")
            con.remember("new", user_id=user, session_id=session, occurred_at="2024-01-01", source="b")
    con.remember("undated", external_id="k")
    with pytest.raises(ProgrammingError, match="forget: give memory_ids, or a selector"):
        con.forget()
    with pytest.raises(ProgrammingError, match="user_id is None"):
        con.forget(user_id=None)
    with pytest.raises(ProgrammingError, match="no selector 'tier'"):
        con.forget(tier="short")  # type: ignore[call-arg]
    assert con.forget([]) == 0
    assert con.forget(user_id="ada", session_id=["s1", "s3"], before="2022-01-01") == 1
    assert con.forget(before=datetime(2022, 1, 1)) == 3
    assert con.forget(source="b", user_id=["ada", "bo"], session_id="s1") == 2
    assert con.forget(external_id="k") == 1
    (left,) = con.execute("SELECT user_id, session_id FROM memories WHERE user_id = 'bo'").fetchall()
    assert left == ("bo", "s2")
    ids = [row[0] for row in con.execute("SELECT memory_id FROM memories").fetchall()]
    assert con.forget(ids, user_id="bo") == 1
    assert con.forget(user_id="ada") == 1
    assert con.execute("SELECT count(*) FROM memories").fetchall() == [(0,)]


def test_turns_of_a_chat_in_python_and_sql(con: aios_db.Connection) -> None:
    chat = ["yes", "Shall I go on?", "yes"]
    for text in chat:
        con.remember(text, session_id="one by one")
    con.remember([{"text": text, "session_id": "list"} for text in chat])
    con.remember(chat, session_id="texts")
    for text in chat:
        con.execute("SELECT remember(?, session_id := 'sql')", [text]).fetchall()
    for day in (1, 2, 3):
        con.remember("Happy birthday!", occurred_at=f"2024-05-0{day}")
    found = con.execute(
        "SELECT session_id, list(text ORDER BY memory_id) FROM memories GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert found == [
        *((session, chat) for session in ("list", "one by one", "sql", "texts")),
        (None, ["Happy birthday!"] * 3),
    ]


def test_names_in_sql(con: aios_db.Connection) -> None:
    (first,), (second,) = (
        con.execute("SELECT remember(?, external_id := 'k', trust := 0.5)", [text]).fetchall()[0]
        for text in ("old", "new")
    )
    assert first == second
    assert con.execute("SELECT text, trust, external_id FROM memories").fetchall() == [("new", 0.5, "k")]


def test_metadata_given_twice_is_the_later(con: aios_db.Connection) -> None:
    con.remember("a", metadata={"x": 1})
    memory = con.get(con.remember("a", metadata={"y": 2}, importance=0.9))
    assert memory is not None and memory.metadata == {"y": 2} and memory.importance == pytest.approx(0.9)
    again = con.get(con.remember("a"))
    assert again is not None and again.metadata == {"y": 2}
    stored = con.execute("SELECT metadata FROM memories").fetchall()[0][0]
    assert json.loads(stored) == {"y": 2}
