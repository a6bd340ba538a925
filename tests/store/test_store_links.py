from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from store_helpers import DIMENSION, counts, memory_rows

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, LinksConfig
from aios_db.schema.database import BEGUN
from aios_db.schema.errors import DataError, ProgrammingError

Open = Callable[..., MemoryStore]


def links_of(store: MemoryStore, kind: str) -> dict[tuple[str, str], tuple[float, int]]:
    rows = store.links.to_table().to_pylist()
    return {
        (row["source_id"], row["target_id"]): (pytest.approx(row["weight"]), row["evidence_count"])
        for row in rows
        if row["kind"] == kind
    }


def pair(source: str, target: str, kind: str = "user", weight: float = 1.0) -> pa.Table:
    return pa.table({"source_id": [source], "target_id": [target], "kind": [kind], "weight": [weight]})


def column_of(store: MemoryStore, memory_id: str) -> list[dict[str, object]] | None:
    found = store.memories.to_table(columns=["memory_id", "association_links"]).to_pylist()
    return {row["memory_id"]: row["association_links"] for row in found}[memory_id]  # type: ignore[no-any-return]


def test_turns_of_a_session_are_linked_with_the_next(store: MemoryStore) -> None:
    a = store.remember(memory_rows(["red", "green"], session_id="s"))
    b = store.remember(memory_rows(["blue"], session_id="s"))
    store.remember(memory_rows(["grey"], session_id="other"))
    found = links_of(store, "next_in_session")
    assert (a[0], a[1]) in found
    assert (a[1], b[0]) in found
    assert all({source, target} <= {*a, *b} for source, target in found)


def test_turns_are_linked_whoever_else_is_there(store: MemoryStore) -> None:
    for user in ("ada", "bo"):
        a, b = store.remember(memory_rows([f"red {user}", f"green {user}"], session_id="s", user_id=user))
        assert (a, b) in links_of(store, "next_in_session")
    assert len(links_of(store, "next_in_session")) == 2


def test_similar_memories_are_linked(open_store: Open, config: Config) -> None:
    store = open_store(config=replace(config, links=LinksConfig(similar_threshold=0.9)))
    (first,) = store.remember(memory_rows(["green tea leaves in the pot"]))
    (near,) = store.remember(memory_rows(["green tea leaves in the pot the"]))
    (far,) = store.remember(memory_rows(["motorway closed"]))
    found = links_of(store, "similar")
    assert {frozenset(each) for each in found} == {frozenset((first, near))}
    assert far not in {end for each in found for end in each}


def test_a_mentioned_title_links(store: MemoryStore) -> None:
    (titled,) = store.remember(memory_rows(["a city on the Elbe"], title="Dresden"))
    (mention,) = store.remember(memory_rows(["she moved to Dresden last year"]))
    assert {frozenset(each) for each in links_of(store, "same_entity")} == {frozenset((titled, mention))}


def test_a_memory_is_linked_with_what_it_was_made_from(store: MemoryStore) -> None:
    a, b = store.remember(memory_rows(["red", "green"]))
    rows = memory_rows(["colours"]).append_column("derived_from", pa.array([[a, "forgotten", b, a]]))
    (made,) = store.remember(rows)
    assert links_of(store, "derived_from") == {(made, a): (1.0, 1), (made, b): (1.0, 1)}


def test_link_inserts_then_strengthens(store: MemoryStore) -> None:
    a, b, c = store.remember(memory_rows(["red", "green", "blue"]))
    assert store.link(pair(a, b)) == 1
    assert (
        store.link(
            pa.concat_tables([pair(a, b, weight=0.5), pair(a, c, weight=0.25), pair(a, b, weight=0.75)])
        )
        == 2
    )
    assert links_of(store, "user") == {(a, b): (1.0, 3), (a, c): (0.25, 1)}  # stronger, never weaker
    assert store.link(pair(a, c, weight=0.5)) == 1
    assert links_of(store, "user") == {(a, b): (1.0, 3), (a, c): (0.5, 2)}
    assert store.link(pair(a, c, weight=0.125), exactly=True) == 1
    assert links_of(store, "user")[a, c] == (0.125, 3)
    assert store.link(pair(a, b, kind="contradicts")) == 1
    assert links_of(store, "contradicts") == {(a, b): (1.0, 1)}


def test_kind_and_weight_have_defaults(store: MemoryStore) -> None:
    a, b = store.remember(memory_rows(["red", "green"]))
    store.link(pa.table({"source_id": [a], "target_id": [b]}))
    assert links_of(store, "user") == {(a, b): (1.0, 1)}


def test_a_link_needs_both_memories(store: MemoryStore) -> None:
    (a,) = store.remember(memory_rows(["red"]))
    with pytest.raises(ProgrammingError, match=r"no memory 'other, no such one"):
        store.link(pa.concat_tables([pair(a, "no such one"), pair("'other", a)]))
    assert store.links.count_rows() == 0
    assert store.link(pair(a, a).slice(0, 0)) == 0


@pytest.mark.parametrize(
    ("links", "error", "message"),
    [
        ({"source_id": ["a"], "target_id": ["b"], "note": ["x"]}, ProgrammingError, "no column 'note'"),
        ({"source_id": ["a"]}, ProgrammingError, "needs the column 'target_id'"),
        ({"source_id": ["a"], "target_id": [None]}, DataError, "row 0: target_id of a link is NULL"),
        ({"source_id": ["a"], "target_id": ["a"]}, DataError, "linked to itself"),
        ({"source_id": ["a"], "target_id": ["b"], "kind": [" "]}, DataError, "kind of a link is empty"),
        ({"source_id": ["a"], "target_id": ["b"], "weight": [0.0]}, DataError, "weight of a link is 0.0"),
        ({"source_id": ["a"], "target_id": ["b"], "weight": [1.5]}, DataError, "weight of a link is 1.5"),
        (
            {"source_id": ["a"], "target_id": ["b"], "weight": [float("nan")]},
            DataError,
            "weight of a link is nan",
        ),
        ({"source_id": ["a"], "target_id": ["b"], "weight": ["heavy"]}, DataError, "'weight'"),
    ],
)
def test_a_wrong_link_is_refused(
    store: MemoryStore, links: dict[str, list[object]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.link(pa.table(links))


def test_the_link_column_follows_the_table(store: MemoryStore) -> None:
    a, *others = store.remember(memory_rows([f"word{i}" for i in range(12)]))
    for i, other in enumerate(others):
        store.link(pair(a, other, weight=(i + 1) / 16))
    store.maintain()
    column = column_of(store, a)
    assert column is not None
    assert [link["target_id"] for link in column] == others[:2:-1]
    assert column[0] == {"target_id": others[-1], "kind": "user", "weight": 11 / 16}
    store.forget([others[-1]])
    store.maintain()
    assert [link["target_id"] for link in column_of(store, a) or []] == others[-2:1:-1]
    assert column_of(store, others[0]) is None


def test_recalls_are_counted_and_link_what_is_recalled_together(open_store: Open, config: Config) -> None:
    store = open_store(config=replace(config, storage=replace(config.storage, link_recalled_s=0)))
    a, b, c = store.remember(memory_rows(["red", "green", "blue"]))
    store.link(pair(b, c, weight=0.5))
    store.touch([a, b])
    store.touch([b, a, c])
    store.touch([])
    assert counts(store) == {a: 2, b: 2, c: 1}
    store.maintain()
    assert counts(store) == {a: 2, b: 2, c: 1}
    assert links_of(store, "recalled_together") == {(a, b): (0.19, 2), (a, c): (0.1, 1)}
    assert links_of(store, "user") == {(b, c): (0.5, 2)}
    store.touch([a, b])
    store.maintain()
    assert links_of(store, "recalled_together") == {(a, b): (0.271, 3), (a, c): (0.1, 1)}


def test_closing_writes_what_is_pending(open_store: Open) -> None:
    store = open_store()
    (a,) = store.remember(memory_rows(["red"]))
    store.touch([a])
    store.close()
    assert counts(open_store()) == {a: 1}


def test_a_recalled_memory_may_be_gone_by_the_time_it_is_counted(store: MemoryStore) -> None:
    a, b = store.remember(memory_rows(["red", "green"]))
    store.touch([a, b])
    store.forget([a])
    store.maintain()
    store.optimize()
    assert links_of(store, "recalled_together") == {}
    assert counts(store) == {b: 1}


def test_counting_recalls_can_be_switched_off(open_store: Open, config: Config) -> None:
    store = open_store(config=replace(config, links=LinksConfig(reinforce_recalled=False)))
    (a,) = store.remember(memory_rows(["red"]))
    store.touch([a])
    store.maintain()
    assert counts(store) == {a: 0}


def test_a_read_only_store_counts_nothing(open_store: Open) -> None:
    (a,) = open_store().remember(memory_rows(["red"]))
    reader = open_store(read_only=True)
    reader.touch([a])
    reader.close()
    assert counts(open_store()) == {a: 0}


def test_links_made_by_recall_follow_the_memories_and_not_the_recalls(store: MemoryStore) -> None:
    ids = store.remember(memory_rows([f"word{number}" for number in range(30)]))
    rng = np.random.default_rng(0)
    for _ in range(12):
        for _ in range(40):
            store.touch([ids[each] for each in rng.permutation(30)[:4]])
        store.optimize()
    made = links_of(store, "recalled_together")
    ends = [end for pair_ in made for end in pair_]
    assert max(ends.count(each) for each in ids) == 16
    weights = store.links.to_table(columns=["weight"])["weight"].to_numpy()
    assert ((weights > 0) & (weights <= 1)).all()


def test_repair_removes_links_without_an_end_and_rebuilds_the_column(store: MemoryStore) -> None:
    a, b, c = store.remember(memory_rows(["red", "green", "blue"]))
    store.link(pa.concat_tables([pair(a, b), pair(b, c), pair(c, a)]))
    store.links.insert(store.links.to_table(filter=f"source_id = '{c}'"))
    store.memories.delete(f"memory_id = '{b}'")  # as a crash between the two commits of forget leaves it
    report = store.repair()
    assert (report.dangling_links, report.repeated_links, report.link_columns) == (2, 1, 2)
    assert links_of(store, "user") == {(c, a): (1.0, 1)}
    assert column_of(store, c) == [{"target_id": a, "kind": "user", "weight": 1.0}]
    assert store.index.find_ids([a, b, c]).tolist()[1] == -1
    assert store.repair() == replace(report, dangling_links=0, repeated_links=0, link_columns=0)


def test_a_bulk_of_memories_gets_its_links_and_its_link_column(store: MemoryStore) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5_000, DIMENSION)).astype(np.float32)
    rows = pa.table(
        {
            "text": [f"memory number {i}" for i in range(5_000)],
            "session_id": [f"s{i // 10}" for i in range(5_000)],
            "text_embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), DIMENSION),
        }
    )
    ids = store.remember(rows)
    store.maintain()
    next_one = links_of(store, "next_in_session")
    assert all(((ids[i], ids[i + 1]) in next_one) == (i % 10 != 9) for i in range(4_999))
    column = {
        row["memory_id"]: row["association_links"]
        for row in store.memories.to_table(columns=["memory_id", "association_links"]).to_pylist()
    }
    outgoing = {row["source_id"] for row in store.links.to_table(columns=["source_id"]).to_pylist()}
    assert {memory_id for memory_id, links in column.items() if links} == outgoing
    assert store.repair().link_columns == 0


def test_repair_links_what_a_killed_writer_stored_and_did_not_link(
    open_store: Callable[..., MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [
        ["red tea", "green tea"],
        ["black tea", "red wine", "green wine"],
        ["black coffee", "red coffee"],
    ]

    def written(name: str, lost: int | None) -> MemoryStore:
        store = open_store(name)
        for number, texts in enumerate(calls):
            with monkeypatch.context() as patch:
                if number == lost:
                    patch.setattr("aios_db.store.relinking.link_new", killed)
                store.remember(memory_rows(texts, session_id="s"))
        return store

    def killed(*_: object, **__: object) -> None:
        raise OSError("the power fails")

    def named(store: MemoryStore) -> set[tuple[str, ...]]:
        text = dict(
            zip(*store.memories.to_table(columns=["memory_id", "text"]).to_pydict().values(), strict=True)
        )
        rows = store.links.to_table(columns=["source_id", "target_id", "kind"]).to_pylist()
        return {(*sorted((text[row["source_id"]], text[row["target_id"]])), row["kind"]) for row in rows}

    whole = written("whole", None)
    assert whole.repair().missing_links == 0
    for lost in range(len(calls)):
        store = written(f"lost {lost}", lost)
        before = named(store)
        if lost < len(calls) - 1:  # the next write has made them
            assert before == named(whole)
            continue
        assert before < named(whole)
        (store.path / BEGUN).unlink()  # without which a write does not know of it
        assert store.repair().missing_links > 0
        assert named(store) == named(whole)
        assert len(store.links) == len(whole.links)
        assert store.repair().missing_links == 0


def test_links_of_one_kind_do_not_crowd_the_others_out_of_the_column(store: MemoryStore) -> None:
    ids = store.remember(memory_rows([f"note {number}" for number in range(64)], session_id="s"))
    for number, other in enumerate(ids[4:]):
        store.link(pair(ids[0], other, "user", 1.0 - number / 1000))
    store.link(pair(ids[0], ids[2], "seen_with", 0.25))
    store.maintain()
    rows = store.links.to_table().to_pylist()
    weights: dict[str, list[float]] = {}
    for link in (row for row in rows if row["source_id"] == ids[0]):
        weights.setdefault(link["kind"], []).append(link["weight"])
    assert {"user", "seen_with", "next_in_session"} <= weights.keys()
    column = column_of(store, ids[0])
    assert column is not None and len(column) == 8
    assert [link["weight"] for link in column] == sorted((link["weight"] for link in column), reverse=True)
    for kind, all_of_it in weights.items():
        shown = [link["weight"] for link in column if link["kind"] == kind]
        assert shown == sorted(all_of_it, reverse=True)[: len(shown)] != []
    assert store.repair().link_columns == 0
