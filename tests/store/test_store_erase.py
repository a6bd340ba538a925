"""`erase`: afterwards the text is in no file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from store_helpers import memory_rows, unit

from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import ReadOnlyError
from aios_db.store.selection import Selection

Open = Callable[..., MemoryStore]


def marker() -> str:
    """A text that no encoding makes shorter."""
    return secrets.token_hex(32)


def holding(directory: Path, text: str) -> list[str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [str(path.relative_to(directory)) for path in files if text.encode() in path.read_bytes()]


@pytest.mark.parametrize("many", [3, 60])
def test_the_text_is_in_no_file(open_store: Open, many: int) -> None:
    store = open_store()
    words = {name: marker() for name in ("text", "title", "media", "old", "forgotten", "metadata")}
    ids = store.remember(memory_rows([f"kept {n}" for n in range(many)]))
    secret = store.remember(
        memory_rows(
            [words["old"]], title=words["title"], media=words["media"].encode(), user_id="ada",
            metadata=json.dumps({"note": words["metadata"]}),
        )
    )  # fmt: skip
    (forgotten,) = store.remember(memory_rows([words["forgotten"]]))
    store.link(pa.table({"source_id": secret, "target_id": ids[:1]}))
    store.optimize()
    update = {"memory_id": secret, "text": [words["text"]], "text_embedding": [unit("new")]}
    store.update(pa.table(update))
    store.forget([forgotten])
    store.index.save()
    for text in words.values():
        assert holding(store.path, text)
    report = store.erase(Selection(user_id=["ada"]))
    for name, text in words.items():
        assert holding(store.path, text) == [], name
    assert report.memories == 1 and report.found_in == () and report.bytes_scanned > 0
    assert report.files_removed > 0
    assert store.memories.count_rows() == many
    assert store.links.count_rows(filter="kind = 'user'") == 0
    assert len(store.index.keyword_search("kept", many).row_ids) == many
    assert store.remember(memory_rows(["kept 0"])) == ids[:1]
    store.close()
    again = open_store()
    assert sorted(again.memories.to_table()["memory_id"].to_pylist()) == sorted(ids)
    assert again.index.find_ids(secret).tolist() == [-1]


def test_what_another_memory_says_is_reported(store: MemoryStore) -> None:
    text = marker()
    rows = memory_rows([text, text], user_id=["ada", "bo"])
    ada, bo = store.remember(rows)
    report = store.erase(Selection(memory_ids=[ada]))
    assert report.memories == 1 and any("memories.lance" in name for name in report.found_in)
    assert store.memories.to_table()["memory_id"].to_pylist() == [bo]
    assert store.erase(Selection(memory_ids=[bo])).found_in == ()
    assert holding(store.path, text) == []


def test_what_was_forgotten_before_is_erased_by_the_next(store: MemoryStore) -> None:
    text = marker()
    store.forget(store.remember(memory_rows([text])))
    assert holding(store.path, text)
    report = store.erase(Selection(memory_ids=["unknown"]))
    assert report.memories == 0 and holding(store.path, text) == []


def test_rejected_records_that_mention_the_text_go(store: MemoryStore) -> None:
    text = 'A "quoted" ünï text ' + marker()
    aside = store.path.with_name(store.path.name + ".rejected.jsonl")
    records: list[Any] = [{"record": {"body": f"He said: {text}"}}, {"record": "other"}, {"record": {"x": 1}}]
    aside.write_text("".join(json.dumps(each) + "\n" for each in records))
    (memory,) = store.remember(memory_rows([text]))
    assert store.erase(Selection(memory_ids=[memory])).rejected == 1
    assert [json.loads(line) for line in aside.read_text().splitlines()] == records[1:]


def test_another_connection_goes_on_after_an_erasure(open_store: Open) -> None:
    store, other = open_store(), open_store()
    text = marker()
    kept, gone = store.remember(memory_rows(["kept words", text]))
    other.refresh()
    store.erase(Selection(memory_ids=[gone]))
    other.refresh()
    assert other.index.find_ids([kept, gone]).tolist() == [0, -1]
    (new,) = other.remember(memory_rows(["more words"]))
    store.refresh()
    assert store.memories.count_rows() == 2
    assert len(store.index.keyword_search("words", 5).row_ids) == 2
    assert new and holding(store.path, text) == []


def test_a_reader_erases_nothing(open_store: Open) -> None:
    open_store().remember(memory_rows(["a"]))
    with pytest.raises(ReadOnlyError):
        open_store(read_only=True).erase(Selection(user_id=["x"]))
