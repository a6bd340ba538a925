"""Random changes, undone and restored, against a plain model: dictionaries of what was there after each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import DIMENSION, HashEncoder, memory_rows, unit

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import IntegrityError, ProgrammingError
from aios_db.search.index import SearchIndex

CONFIG = Config(storage=StorageConfig(dimension=DIMENSION, durability="normal", maintenance_delay_s=60))
TEXTS = [
    "the red lamp of Ingrid Solberg",
    "the red lamp of Ingrid Solberg is broken",
    "green tea at five",
    "green tea at six",
    "a viola and a lamp",
    "yes",
]
NOT_CONTENT = {"association_links"}
MADE = {"next_in_session", "similar", "same_entity", "derived_from", "recalled_together"}

State = tuple[dict[str, dict[str, Any]], dict[tuple[str, str, str], tuple[float, int]]]

PLACE = st.integers(0, 7)
TEXT = st.sampled_from(TEXTS)
REMEMBER = st.tuples(
    st.just("remember"), st.lists(TEXT, min_size=1, max_size=3), st.sampled_from([None, "s"])
)
STEP = st.one_of(
    REMEMBER,
    REMEMBER,
    st.tuples(st.just("forget"), st.lists(PLACE, min_size=1, max_size=3)),
    st.tuples(st.just("update"), PLACE, TEXT, st.floats(0, 1, width=16)),
    st.tuples(st.just("link"), PLACE, PLACE, st.sampled_from(["user", "cause"])),
    st.tuples(st.just("unlink"), PLACE),
    st.tuples(st.just("undo"), st.integers(0, 3)),
    st.tuples(st.just("undo"), st.integers(0, 3)),
    st.tuples(st.just("undo"), st.integers(0, 9)),
    st.tuples(st.just("restore"), st.integers(0, 9)),
    st.tuples(st.just("back to"), st.integers(0, 9)),
    st.just(("optimize",)),
    st.just(("save",)),
)


@settings(max_examples=8)
@given(st.lists(STEP, min_size=4, max_size=18))
def test_undo_and_restore_at_random(steps: list[tuple[Any, ...]]) -> None:
    run(steps)


def run(steps: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as directory:
        store, other = (
            MemoryStore.open(Path(directory, "a.aios"), config=CONFIG, encoder=HashEncoder())
            for _ in range(2)
        )
        try:
            states = {0: state_of(store)}
            versions = {0: store.memories.version}
            for number, step in enumerate(steps):
                before = len(store.changes())
                apply(store, states, versions, step)
                now = state_of(store)
                if len(store.changes()) > before:
                    states[len(store.changes())] = now
                    versions[len(store.changes())] = store.memories.version
                assert now == states[len(states) - 1]
                check_whole(now)
                if number % 3 == 2:
                    other.refresh()
            check_index(store, other)
        finally:
            store.close()
            other.close()


def state_of(store: MemoryStore) -> State:
    rows = store.memories.to_table(with_row_id=True).to_pylist()
    memories = {
        row["memory_id"]: {name: value for name, value in row.items() if name not in NOT_CONTENT}
        for row in rows
    }
    links = {
        (row["source_id"], row["target_id"], row["kind"]): (row["weight"], row["evidence_count"])
        for row in store.links.to_table().to_pylist()
    }
    assert len(rows) == len(memories)
    return memories, links


def apply(  # noqa: PLR0912 - a step each
    store: MemoryStore, states: dict[int, State], versions: dict[int, int], step: tuple[Any, ...]
) -> None:
    ids = sorted(states[len(states) - 1][0])

    def named(place: int) -> str:
        return ids[place % len(ids)]

    match step:
        case "remember", texts, session:
            store.remember(memory_rows(texts, session_id=session, kind="message"), append=True)
        case ("optimize",):
            store.optimize()
        case ("save",):
            store.index.save()
        case "undo", back:
            undo(store, states, max(len(states) - 1 - back, 1))
        case "restore", back:
            change = max(len(states) - 1 - back, 0)
            same = max(number for number, version in versions.items() if version == versions[change])
            store.restore(versions[change], None)
            assert state_of(store) == states[same]  # calls that changed links alone have the same version
        case "back to", back:
            change = max(len(states) - 1 - back, 1)
            if change in states:
                before = store.changes()[change - 1].changed_at
                store.restore(None, round(before.timestamp() * 1e6))
                assert state_of(store) == states[change - 1]
        case _ if not ids:
            return
        case "forget", places:
            store.forget([named(each) for each in places])
        case "update", place, text, importance:
            rows = memory_rows([text], importance=importance).append_column("memory_id", [[named(place)]])
            try:
                store.update(rows)
            except IntegrityError:
                return
        case "link", first, second, kind:
            if named(first) != named(second):
                ends = {"source_id": [named(first)], "target_id": [named(second)]}
                store.link(pa.table({**ends, "kind": [kind], "weight": pa.array([0.5], pa.float32())}))
        case "unlink", place:
            keys = sorted(states[len(states) - 1][1])
            if keys:
                source, target, kind = keys[place % len(keys)]
                store.unlink(pa.table({"source_id": [source], "target_id": [target], "kind": [kind]}))


def undo(store: MemoryStore, states: dict[int, State], change: int) -> None:
    """Undo a change, and compare with what dictionaries say of it."""
    if change not in states:
        return
    (old, old_links), (new, new_links) = states[change - 1], states[change]
    now, now_links = states[len(states) - 1]
    touched = {each for each in {*old, *new} if old.get(each) != new.get(each)}
    later = {each for each in touched if now.get(each) != new.get(each)}
    hashes = {now[each]["content_hash"] for each in now.keys() - touched}
    twins = {each for each in touched & old.keys() if old[each]["content_hash"] in hashes}
    gone = touched - old.keys()
    by_hand = {key for key in now_links.keys() - new_links.keys() if key[2] not in MADE and gone & {*key[:2]}}
    links_touched = {key for key in {*old_links, *new_links} if old_links.get(key) != new_links.get(key)}
    links_later = {key for key in links_touched if now_links.get(key) != new_links.get(key)} - by_hand
    if later or twins or by_hand or (not touched and links_later):
        for dry_run in (True, False):
            try:
                store.undo(change, dry_run=dry_run)
            except ProgrammingError as error:
                assert not later or any(each in str(error) for each in later)
            else:
                raise AssertionError(f"change {change} was undone: {later} {twins} {by_hand} {links_later}")
        assert state_of(store) == (now, now_links)
        return
    wanted = {each: row for each, row in now.items() if each not in touched}
    wanted |= {each: old[each] for each in touched & old.keys()}
    expected = store.undo(change, dry_run=True)
    report = store.undo(change)
    found, found_links = state_of(store)
    assert found == wanted
    assert report.added == len(touched & old.keys() - new.keys()) == expected.added
    assert (report.deleted, expected.updated, expected.links) == (len(gone), report.updated, report.links)
    if change == len(states) - 1:
        assert found_links == old_links
    for key in links_touched - links_later:
        if key in old_links:
            assert not found.keys() >= {*key[:2]} or found_links[key] == old_links[key]
        else:
            assert key not in found_links
    for key in now_links.keys() - links_touched:
        assert (key in found_links) == (not gone & {*key[:2]})


def check_whole(state: State) -> None:
    memories, links = state
    for source, target, _ in links:
        assert source in memories and target in memories
    hashes = [row["content_hash"] for row in memories.values()]
    assert len(hashes) == len(set(hashes))


def check_index(store: MemoryStore, other: MemoryStore) -> None:
    """Compare the indices of both with one that is made anew, and the column of links with the table."""
    other.refresh()
    rebuilt = SearchIndex.open(None, DIMENSION)
    rebuilt.sync(store.memories, store.links)
    for index in (store.index, other.index):
        assert answers(index) == answers(rebuilt)
    shutil.rmtree(store.path / "index", ignore_errors=True)
    assert store.repair().link_columns == 0


def answers(index: SearchIndex) -> dict[str, Any]:
    found: dict[str, Any] = {"documents": len(index), "links": index.link_count}
    for text in TEXTS:
        for name, hits in (
            ("vector", index.vector_search(unit(text), 20)),
            ("keyword", index.keyword_search(text, 20)),
        ):
            told = [round(float(each), 4) for each in (*hits.scores, hits.mean, hits.std)]
            found[f"{name} {text}"] = hits.row_ids.tolist(), told
    rows = np.sort(index.rows())
    hashes = ((part.rows[part.alive], part.columns["hashes"][part.alive]) for part in index.parts)
    found["hashes"] = sorted(pair for each in hashes for pair in zip(*map(list, each), strict=True))
    found["names"] = index.memory_ids(rows).to_pylist()
    found["neighbors"] = {
        row: sorted(zip(*(each.tolist() for each in index.neighbors(row, 2)), strict=True))
        for row in rows.tolist()
    }
    return found


def test_vectors_of_other_weights_are_made_anew(open_store: Callable[..., MemoryStore]) -> None:
    encoder = HashEncoder()
    store = open_store(encoder=encoder)
    given, made = store.remember(
        pa.concat_tables([memory_rows(["mine"]), pa.table({"text": ["yours"]})], promote_options="default")
    )
    store.forget([given, made])
    encoder.version = store.database.texts._following.version = "other@1"
    encoder.texts.clear()
    store.undo(2)
    rows = {row["memory_id"]: row for row in store.memories.to_table().to_pylist()}
    assert encoder.texts == ["yours"]  # a vector that was given stays
    assert [rows[each]["text_weight_version"] for each in (given, made)] == [None, "other@1"]
    assert rows[made]["text_embedding"] == pytest.approx(unit("yours").tolist())


def test_a_change_of_vectors_stands_in_the_way_of_none(open_store: Callable[..., MemoryStore]) -> None:
    store = open_store()
    (one,) = store.remember(memory_rows(["one"]))
    store.update(pa.table({"memory_id": [one], "tier": ["long"]}))

    def other_weights(memories: Any) -> pa.Table:
        rows = memories.to_table(columns=["memory_id", "text_embedding", "text_weight_version"])
        vector = pa.array([unit("other").tolist()], rows.schema.field("text_embedding").type)
        return rows.set_column(1, "text_embedding", vector).set_column(
            2, "text_weight_version", [["other@1"]]
        )

    assert store.replace_vectors(other_weights) == 1
    with pytest.raises(ProgrammingError, match="exchanged the vectors of all memories"):
        store.undo(3)
    store.undo(2)
    (row,) = store.memories.to_table().to_pylist()
    assert (row["tier"], row["text_weight_version"]) == ("short", None)
