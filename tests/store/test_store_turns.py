"""Which messages are one: place in the session, time, and folding, against a plain list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import DIMENSION, memory_rows

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, LinksConfig, StorageConfig
from aios_db.store.turns import Turns

Open = Callable[..., MemoryStore]
DAYS = [datetime(2024, 5, day, tzinfo=timezone.utc) for day in (1, 2, 3)]
CHAT = ["yes", "Shall I go on?", "yes", "yes"]


def texts(store: MemoryStore) -> list[str]:
    rows = store.memories.to_table(columns=["memory_id", "text"]).to_pylist()
    return [row["text"] for row in sorted(rows, key=lambda row: row["memory_id"])]


def test_a_repeated_turn_is_another_memory(store: MemoryStore) -> None:
    ids = store.remember(memory_rows(CHAT, session_id="s"))
    assert len(set(ids)) == 4
    assert texts(store) == CHAT


def test_a_transcript_given_again_or_longer_is_the_same(store: MemoryStore) -> None:
    ids = store.remember(memory_rows(CHAT, session_id="s"))
    assert store.remember(memory_rows(CHAT, session_id="s")) == ids
    longer = store.remember(memory_rows([*CHAT, "no", "yes"], session_id="s"))
    assert longer[:4] == ids and len(set(longer)) == 6
    assert store.remember(memory_rows(CHAT[:2], session_id="s")) == ids[:2]


def test_a_transcript_in_several_calls(store: MemoryStore) -> None:
    for _ in range(2):
        turns = Turns()
        ids = [
            each
            for start in range(0, 6, 2)
            for each in store.remember(
                memory_rows(["yes", "no", "yes", "yes", "no", "yes"][start : start + 2], session_id="s"),
                turns=turns,
            )
        ]
        assert len(set(ids)) == 6
    assert store.memories.count_rows() == 6


def test_turns_appended_one_by_one_are_all_kept(open_store: Open) -> None:
    store, other = open_store(), open_store()
    ids = [
        (store, other)[number % 2].remember(memory_rows([text], session_id="s"), append=True)[0]
        for number, text in enumerate(CHAT * 5)
    ]
    assert len(set(ids)) == 20
    store.refresh()
    assert texts(store) == CHAT * 5
    assert set(store.remember(memory_rows(CHAT * 5, session_id="s"))) == set(ids)
    assert len(set(store.remember(memory_rows(["yes"] * 3, session_id="s"), append=True)) - set(ids)) == 3


def test_the_same_words_at_other_times_are_other_memories(store: MemoryStore) -> None:
    for session in (None, "s"):
        rows = memory_rows(["yes"] * 3, session_id=session, occurred_at=DAYS)
        ids = store.remember(rows)
        assert len(set(ids)) == 3
        assert store.remember(rows) == ids
        for place, day in enumerate(DAYS):  # one at a time, a turn with a time is known
            row = memory_rows(["yes"], session_id=session, occurred_at=day)
            assert store.remember(row, append=True) == [ids[place]]


def test_other_kinds_and_messages_without_session_are_one(store: MemoryStore) -> None:
    assert len(set(store.remember(memory_rows(CHAT, session_id="s", kind="document")))) == 2
    assert len(set(store.remember(memory_rows(CHAT)))) == 2
    days = store.remember(memory_rows(["x"] * 3, kind="observation", occurred_at=DAYS))
    assert len(set(days)) == 1


def test_outside_of_sessions_a_time_is_filled_in_or_left_out(store: MemoryStore) -> None:
    (first,) = store.remember(memory_rows(["x"]))
    assert store.remember(memory_rows(["x"], occurred_at=DAYS[0])) == [first]
    (second,) = store.remember(memory_rows(["x"], occurred_at=DAYS[1]))
    assert second != first
    assert store.remember(memory_rows(["x"], tier="long")) == [second]  # the newest of these words
    store.forget([second])
    store.remember(memory_rows(["x"], occurred_at=DAYS[0], tier="archived"))
    (row,) = store.memories.to_table().to_pylist()
    assert (row["memory_id"], row["tier"], row["occurred_at"]) == (first, "archived", DAYS[0])


def test_folded_messages_count_and_keep_their_times(store: MemoryStore) -> None:
    rows = memory_rows(
        ["yes", "no", "yes", "yes"], session_id="s", occurred_at=[DAYS[1], None, DAYS[0], None]
    )
    for _ in range(2):  # a transcript again is not said again
        ids = store.remember(rows, fold=True)
        assert ids[0] == ids[2] == ids[3] != ids[1]
    found = {row["text"]: row for row in store.memories.to_table().to_pylist()}
    assert (found["yes"]["occurrences"], found["yes"]["times"]) == (3, DAYS[:2])
    assert (found["no"]["occurrences"], found["no"]["times"]) == (1, None)
    store.remember(memory_rows(["yes"], session_id="s", occurred_at=DAYS[2]), fold=True, append=True)
    store.remember(memory_rows(["yes"], session_id="s"), fold=True, append=True)
    found = {row["text"]: row for row in store.memories.to_table().to_pylist()}
    assert (found["yes"]["occurrences"], found["yes"]["times"]) == (5, DAYS)
    assert found["yes"]["occurred_at"] == DAYS[2]


TURN = st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["s", "t"]), st.none() | st.integers(0, 2))
CALL = st.tuples(st.booleans(), st.lists(TURN, min_size=1, max_size=5))


def told_apart(session: dict[Any, int], call: list[Any], *, append: bool) -> None:
    """What a plain list of turns says: how many there are of each text, session and time."""
    if append:
        for turn in call:
            session[turn] = session.get(turn, 0) + 1 if turn[2] is None else max(session.get(turn, 0), 1)
    else:
        for turn, count in Counter(call).items():
            session[turn] = max(session.get(turn, 0), count)


def as_rows(call: list[Any]) -> pa.Table:
    return memory_rows(
        [text for text, _, _ in call],
        session_id=[session for _, session, _ in call],
        occurred_at=pa.array(
            [None if day is None else DAYS[0] + timedelta(days=day) for _, _, day in call],
            pa.timestamp("us", tz="UTC"),
        ).to_pylist(),
    )


@settings(max_examples=20, deadline=None)
@given(calls=st.lists(CALL, min_size=1, max_size=6), fold=st.booleans())
def test_sessions_hold_what_a_plain_list_does(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Any], fold: bool
) -> None:
    path: Path = tmp_path_factory.mktemp("turns")
    config = Config(
        storage=StorageConfig(dimension=DIMENSION), links=LinksConfig(similar_neighbors=0, entity_links=0)
    )
    store = MemoryStore.open(path / "agent.aios", config=config)
    expected: dict[Any, int] = {}
    for append, call in calls:
        one_by_one = [[turn] for turn in call] if append else [call]
        for rows in one_by_one:
            ids = store.remember(as_rows(rows), append=append, fold=fold)
            told_apart(expected, rows, append=append)
            assert len(ids) == len(rows)
    rows = store.memories.to_table().to_pylist()
    found: Counter[Any] = Counter()
    for row in rows:
        times = row["times"] if fold else [row["occurred_at"]] if row["occurred_at"] else []
        for time in times or []:
            found[row["text"], row["session_id"], (time - DAYS[0]).days] += 1
        found[row["text"], row["session_id"], None] += row["occurrences"] - len(times or [])
    assert +found == Counter(expected)
    if fold:
        assert len(rows) == len({turn[:2] for turn in expected})
    store.close()
