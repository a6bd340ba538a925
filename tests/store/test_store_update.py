"""Memories that are changed: `update`, and what is remembered again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from store_helpers import HashEncoder, memory_rows, unit

from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import DataError, IntegrityError, ProgrammingError
from aios_db.schema.vectors import as_numpy

Open = Callable[..., MemoryStore]
DAY = datetime(2024, 5, 1, tzinfo=timezone.utc)


def stored(store: MemoryStore, *columns: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.memories.to_table(columns=["memory_id", *columns]).to_pylist()
    return rows


def links_of(store: MemoryStore, kind: str) -> set[tuple[str, str]]:
    rows = store.links.to_table(filter=f"kind = '{kind}'").to_pylist()
    return {(row["source_id"], row["target_id"]) for row in rows}


def update(store: MemoryStore, memory_id: str, **fields: Any) -> int:
    return store.update(pa.table({"memory_id": [memory_id], **{k: [v] for k, v in fields.items()}}))


def test_a_changed_text_is_embedded_again_and_nothing_else_is(open_store: Open) -> None:
    encoder = HashEncoder()
    store = open_store(encoder=encoder)
    first, second = store.remember(pa.table({"text": ["old words", "other"], "title": ["T", None]}))
    (before,) = [row for row in stored(store, "created_at") if row["memory_id"] == first]
    encoder.texts.clear()
    assert update(store, first, text="new words", importance=0.9) == 1
    assert encoder.texts == ["T. new words"]
    found = store.memories.to_table(filter=f"memory_id = '{first}'")
    assert found["text"].to_pylist() == ["new words"]
    assert found["importance"].to_pylist() == pytest.approx([0.9])
    assert found["created_at"].to_pylist() == [before["created_at"]]
    np.testing.assert_allclose(as_numpy(found["text_embedding"])[0], unit("T. new words"), atol=1e-6)
    encoder.texts.clear()
    update(store, second, tier="long", metadata='{"a": 1}', speaker="Ada")
    assert encoder.texts == []
    ids = store.index.memory_ids(store.index.keyword_search("new", 5).row_ids).to_pylist()
    assert ids == [first]
    assert len(store.index.keyword_search("old", 5).row_ids) == 0


def test_what_is_not_changed_is_not_written(store: MemoryStore) -> None:
    (memory,) = store.remember(memory_rows(["a"], tier="long", metadata='{"x": 1}'))
    version = store.memories.version
    assert update(store, memory, tier="long", text="a", metadata='{"x": 1}') == 1
    assert store.memories.version == version


def test_null_empties_a_column_and_what_must_be_there_stays(store: MemoryStore) -> None:
    (memory,) = store.remember(memory_rows(["a"], title="T", source="s", occurred_at=DAY))
    fields = {"title": None, "source": None, "occurred_at": None}
    store.update(
        pa.table(
            {
                "memory_id": [memory],
                **{name: pa.nulls(1) for name in fields},
                "text_embedding": [unit("a")],
            }
        )
    )
    (row,) = stored(store, *fields)
    assert [row[name] for name in fields] == [None, None, None]
    for name in ("kind", "tier", "importance", "trust"):
        with pytest.raises(DataError, match=f"row 0: {name} cannot be empty"):
            store.update(pa.table({"memory_id": [memory], name: pa.nulls(1)}))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"text": "  "}, DataError, "nothing to remember"),
        ({"tier": "forever"}, DataError, "tier is 'forever'"),
        ({"importance": 2.0}, DataError, "importance is 2"),
        ({"metadata": "[1]"}, DataError, "metadata"),
        ({"occurred_at": "yesterday"}, DataError, "occurred_at"),
        ({"text_embedding": [1.0]}, DataError, "has 1 numbers"),
        ({"access_count": 3}, ProgrammingError, "update has no column 'access_count'"),
        ({"colour": "red"}, ProgrammingError, "update has no column 'colour'"),
        ({"external_id": ""}, DataError, "external_id is empty"),
    ],
)
def test_a_wrong_change_changes_nothing(
    store: MemoryStore, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    (memory,) = store.remember(memory_rows(["a"]))
    version = store.memories.version
    with pytest.raises(error, match=message):
        update(store, memory, **fields)
    assert store.memories.version == version


def test_an_unknown_id_is_named_and_nothing_is_changed(store: MemoryStore) -> None:
    (memory,) = store.remember(memory_rows(["a"]))
    with pytest.raises(ProgrammingError, match="cannot update: no memory nobody"):
        store.update(pa.table({"memory_id": [memory, "nobody"], "tier": ["long", "long"]}))
    with pytest.raises(ProgrammingError, match="needs the column memory_id"):
        store.update(pa.table({"tier": ["long"]}))
    assert stored(store, "tier") == [{"memory_id": memory, "tier": "short"}]


def test_no_two_memories_become_one(store: MemoryStore) -> None:
    first, second = store.remember(memory_rows(["a", "b"], external_id=["x", None]))
    third, fourth = store.remember(memory_rows(["c", "d"]))
    for memory, fields in ((second, {"external_id": "x"}), (third, {"text": "d"})):
        given = {**fields, "text_embedding": unit("d")} if "text" in fields else fields
        with pytest.raises(IntegrityError, match="would be the same as another"):
            update(store, memory, **given)
    both = pa.table({"memory_id": [third, fourth], "text": ["e", "e"], "text_embedding": [unit("e")] * 2})
    with pytest.raises(IntegrityError, match="would be the same"):
        store.update(both)
    swapped = pa.table(
        {"memory_id": [third, fourth], "text": ["d", "c"], "text_embedding": [unit("d"), unit("c")]}
    )
    assert store.update(swapped) == 2
    assert [row["text"] for row in sorted(stored(store, "text"), key=lambda r: r["memory_id"])] == [
        "a", "b", "d", "c",
    ]  # fmt: skip
    assert store.remember(memory_rows(["c", "d"])) == [fourth, third]
    assert first


def test_the_old_content_is_free_again(store: MemoryStore) -> None:
    (first,) = store.remember(memory_rows(["a"]))
    update(store, first, text="b", text_embedding=unit("b"))
    (second,) = store.remember(memory_rows(["a"]))
    assert second != first
    assert store.remember(memory_rows(["b"])) == [first]


def test_links_made_by_hand_stay_and_those_of_the_text_are_made_anew(store: MemoryStore) -> None:
    tea, also_tea, milk, also_milk = store.remember(
        memory_rows(["green tea", "green tea leaves", "cold milk", "cold milk jug"])
    )
    store.link(pa.table({"source_id": [tea], "target_id": [milk]}))
    assert links_of(store, "similar") == {(also_tea, tea), (also_milk, milk)}
    update(store, tea, text="cold milk", speaker="Bo", text_embedding=unit("cold milk"))
    assert links_of(store, "user") == {(tea, milk)}
    assert links_of(store, "similar") == {(also_milk, milk), (milk, tea), (also_milk, tea)}


def test_a_turn_that_moves_to_another_session_takes_its_place_there(store: MemoryStore) -> None:
    one = store.remember(memory_rows(["a", "b", "c"], session_id="s"))
    (other,) = store.remember(memory_rows(["x"], session_id="t"))
    assert (one[1], one[2]) in links_of(store, "next_in_session")
    update(store, one[2], session_id="t")
    found = links_of(store, "next_in_session")
    assert (one[0], one[1]) in found
    assert [set(link) for link in found if one[2] in link] == [{one[2], other}]


def test_lineage_follows_derived_from(store: MemoryStore) -> None:
    first, second, third = store.remember(memory_rows(["a", "b", "c"]))
    update(store, third, derived_from=[first])
    assert links_of(store, "derived_from") == {(third, first)}
    update(store, third, derived_from=[second])
    assert links_of(store, "derived_from") == {(third, second)}
    update(store, second, tier="long", source="s")
    assert links_of(store, "derived_from") == {(third, second)}


def test_tables_with_other_columns_are_one_commit(store: MemoryStore) -> None:
    first, second = store.remember(memory_rows(["a", "b"]))
    version = store.memories.version
    count = store.update(
        [
            pa.table({"memory_id": [first], "tier": ["long"]}),
            pa.table({"memory_id": [second, first], "importance": [0.1, 0.2]}),
        ]
    )
    assert count == 2 and store.memories.version == version + 1
    rows = sorted(stored(store, "tier", "importance"), key=lambda row: row["memory_id"])
    assert [(row["tier"], round(row["importance"], 3)) for row in rows] == [("long", 0.2), ("short", 0.1)]


# Remembered again

CHANGED = [
    ("media_type", "image/png", "image/jpeg"),
    ("occurred_at", DAY, datetime(2025, 1, 1, tzinfo=timezone.utc)),
    ("tier", "short", "long"),
    ("importance", 0.25, 0.75),
    ("source", "a.txt", "b.txt"),
    ("trust", 0.5, 0.25),
    ("derived_from", ["x"], ["y", "z"]),
    ("metadata", '{"a": 1}', '{"b": 2}'),
]


@pytest.mark.parametrize(("column", "before", "after"), CHANGED)
def test_given_values_replace_and_absent_ones_stay(
    store: MemoryStore, column: str, before: Any, after: Any
) -> None:
    row = {"kind": "document", "media_uri": "file:///x"}
    (memory,) = store.remember(memory_rows(["a"], **row))
    for given in (before, after):
        assert store.remember(memory_rows(["a"], **row, **{column: [given]})) == [memory]
        assert stored(store, column)[0][column] == given
    assert store.remember(memory_rows(["a"], **row)) == [memory]
    assert stored(store, column)[0][column] == after
    (again,) = store.remember(memory_rows(["a", "a"], **row, **{column: [before, None]}))[:1]
    assert (again, stored(store, column)[0][column]) == (memory, before)
    assert stored(store, "access_count")[0]["access_count"] == 5


def test_the_media_type_goes_with_the_modalities(store: MemoryStore) -> None:
    store.remember(memory_rows(["a"], media_uri="file:///x"))
    store.remember(memory_rows(["a"], media_uri="file:///x", media_type="audio/ogg"))
    assert stored(store, "modalities")[0]["modalities"] == ["text", "audio"]


def test_a_vector_given_again_replaces(store: MemoryStore) -> None:
    store.remember(memory_rows(["a"]))
    store.remember(pa.table({"text": ["a"], "text_embedding": [unit("z")]}))
    vectors = as_numpy(store.memories.to_table(columns=["text_embedding"])["text_embedding"])
    np.testing.assert_allclose(vectors, [unit("z")], atol=1e-6)


# Names of the user's


def test_a_name_given_again_replaces_the_memory(open_store: Open) -> None:
    encoder = HashEncoder()
    store = open_store(encoder=encoder)
    first, other = store.remember(
        pa.table({"text": ["old tea", "tea"], "external_id": ["k", None], "source": ["s", None]})
    )
    store.link(pa.table({"source_id": [other], "target_id": [first]}))
    encoder.texts.clear()
    row = pa.table({"text": ["new milk"], "external_id": ["k"], "tier": ["long"]})
    assert store.remember(row) == [first]
    assert encoder.texts == ["new milk"]
    (found,) = [each for each in stored(store, "text", "source", "tier") if each["memory_id"] == first]
    assert found == {"memory_id": first, "text": "new milk", "source": "python", "tier": "long"}
    assert links_of(store, "user") == {(other, first)}
    version = store.memories.version
    assert store.remember(row) == [first]
    assert store.memories.version == version  # nothing changed
    assert encoder.texts == ["new milk"]


def test_a_name_is_unique_within_user_and_agent(store: MemoryStore) -> None:
    scopes = [("u", "a"), ("u", None), (None, "a"), (None, None), ("v", "a")]
    rows = memory_rows(
        [f"text {n}" for n in range(5)],
        external_id="k",
        user_id=[user for user, _ in scopes],
        agent_id=[agent for _, agent in scopes],
    )
    ids = store.remember(rows)
    assert len(set(ids)) == 5
    assert store.remember(rows) == ids
    assert store.memories.count_rows() == 5


def test_in_one_call_the_last_of_a_name_wins(store: MemoryStore) -> None:
    ids = store.remember(memory_rows(["a", "b", "c"], external_id=["k", None, "k"], source=["s", None, None]))
    assert ids[0] == ids[2] != ids[1]
    found = {row["memory_id"]: (row["text"], row["source"]) for row in stored(store, "text", "source")}
    assert found == {ids[0]: ("c", "python"), ids[1]: ("b", "python")}


def test_a_name_is_given_to_what_is_known_without_one(store: MemoryStore) -> None:
    (first,) = store.remember(memory_rows(["a"]))
    assert store.remember(memory_rows(["a"], external_id="k")) == [first]
    assert store.remember(memory_rows(["b"], external_id="k")) == [first]
    (other,) = store.remember(memory_rows(["b"], external_id="other"))
    (plain,) = store.remember(memory_rows(["b"]))
    assert len({first, other, plain}) == 3


def test_names_are_known_after_reopening_and_by_a_segment(open_store: Open) -> None:
    store = open_store()
    ids = store.remember(
        memory_rows([f"text {n}" for n in range(50)], external_id=[f"k{n}" for n in range(50)])
    )
    store.optimize()
    store.close()
    again = open_store()
    assert again.remember(memory_rows(["new"], external_id="k7")) == [ids[7]]
    assert again.remember(memory_rows(["text 8"], external_id="k8")) == [ids[8]]
    assert again.memories.count_rows() == 50
