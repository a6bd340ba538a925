"""A process ends between the memories and the links of a call: the next one makes the links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from store_helpers import memory_rows

from aios_db.memory_store import MemoryStore
from aios_db.security.scope import Scope
from aios_db.store import commit, links, relinking
from aios_db.store.change_log import ChangeLog
from aios_db.store.finishing import Finishing

Open = Callable[..., MemoryStore]
TEXTS = ["the red lamp", "the red lamp again", "green tea"]


class Killed(BaseException):
    """What ends a process; nothing is written after it."""


def _links(store: MemoryStore) -> set[tuple[str, ...]]:
    texts = dict(
        zip(*store.memories.to_table(columns=["memory_id", "text"]).to_pydict().values(), strict=True)
    )
    rows = store.links.to_table(columns=["source_id", "target_id", "kind"]).to_pylist()
    ends = ("source_id", "target_id")
    return {(*(texts.get(row[end], "nothing") for end in ends), row["kind"]) for row in rows}


def _remember(store: MemoryStore, _: list[str]) -> object:
    return store.remember(memory_rows(["a red lamp", "tea"], session_id="s"))


def _update(store: MemoryStore, ids: list[str]) -> object:
    return store.update(pa.table({"memory_id": ids[:1], "session_id": ["other"]}))


CALLS: dict[str, Callable[[MemoryStore, list[str]], object]] = {
    "remember": _remember,
    "update": _update,
    "forget": lambda store, ids: store.forget(ids[:2]),
    "erase": lambda store, ids: store.erase(ids[:2]),
}


def _filled(open_store: Open, name: str) -> tuple[MemoryStore, list[str]]:
    store = open_store(name)
    ids = store.remember(memory_rows(TEXTS, session_id="s"))
    store.link(pa.table({"source_id": ids[:1], "target_id": ids[2:]}))
    store.flush()
    return store, ids


def _broken_off(store: MemoryStore, ids: list[str], call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ChangeLog, "end", lambda *_, **__: None)
        patch.setattr(links, "delete_at", _killed)
        patch.setattr(relinking, "link_new", _killed)
        with pytest.raises(Killed):
            CALLS[call](store, ids)


@pytest.mark.parametrize("who", ["opens", "writes"])
@pytest.mark.parametrize("call", CALLS)
def test_the_next_one_writes_the_links(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, who: str
) -> None:
    whole, ids = _filled(open_store, "whole.aios")
    CALLS[call](whole, ids)
    store, ids = _filled(open_store, "killed.aios")
    other = open_store("killed.aios") if who == "writes" else store
    _broken_off(store, ids, call, monkeypatch)
    if who == "writes":
        other.refresh()
        assert _links(other) != _links(whole)  # so far
        other.unlink(pa.table({"source_id": ["a"], "target_id": ["b"], "kind": ["user"]}))
    else:
        other = open_store("killed.aios")
    assert _links(other) == _links(whole)
    told = whole.changes()[-1]
    # Of an erasure the files are to go, too: whoever opens the database does that, as another change.
    last = next(each for each in other.changes() if each.change_id == told.change_id)
    assert (last.call, last.complete) == (call, call != "erase")
    if last.complete:
        assert (last.added, last.updated, last.deleted) == (told.added, told.updated, told.deleted)
    assert f"change {last.change_id}, {call}, was broken off after its memories" in caplog.text
    other.flush()
    report = other.repair()
    assert (report.dangling_links, report.repeated_links, report.missing_links) == (0, 0, 0)
    assert report.link_columns == 0


@pytest.mark.parametrize("call", CALLS)
def test_the_column_of_links_follows_what_the_killed_one_wrote(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store, ids = _filled(open_store, "agent.aios")
    with monkeypatch.context() as patch:
        patch.setattr(ChangeLog, "end", _killed)
        with pytest.raises(Killed):
            CALLS[call](store, ids)
    other = open_store("agent.aios")
    other.flush()
    assert other.repair().link_columns == 0


def _killed(*_: object, **__: object) -> Any:
    raise Killed


@pytest.mark.parametrize("call", CALLS)
def test_one_that_is_killed_while_it_finishes_leaves_it_to_the_next(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    whole, ids = _filled(open_store, "whole.aios")
    CALLS[call](whole, ids)
    _broken_off(*_filled(open_store, "killed.aios"), call, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Finishing, "_link_done", _killed)
        with pytest.raises(Killed):
            open_store("killed.aios")
    assert _links(open_store("killed.aios")) == _links(whole)


@pytest.mark.parametrize("who", ["opens", "writes"])
@pytest.mark.parametrize("call", CALLS)
def test_somebody_elses_scope_finishes_what_it_does_not_see(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, call: str, who: str
) -> None:
    def filled(name: str) -> tuple[MemoryStore, list[str]]:
        store = open_store(name, scope=Scope("ada"))
        ids = store.remember(memory_rows(TEXTS, session_id="s"))
        store.link(pa.table({"source_id": ids[:1], "target_id": ids[2:]}))
        return store, ids

    whole, ids = filled("whole.aios")
    CALLS[call](whole, ids)
    store, ids = filled("killed.aios")
    other = open_store("killed.aios", scope=Scope("bo")) if who == "writes" else None
    _broken_off(store, ids, call, monkeypatch)
    other = other or open_store("killed.aios", scope=Scope("bo"))
    other.remember(memory_rows(["a red lamp of Bo's"], session_id="s"))
    assert other.memories.count_rows() == whole.memories.count_rows() + 1
    assert _links(other) == _links(whole)
    assert [each.call for each in other.changes()] == ["remember"]


def test_a_batch_is_finished_once(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, ids = _filled(open_store, "agent.aios")
    with store.as_one_change("import"):
        store.remember(memory_rows(["one"], session_id="t"))
        _broken_off(store, ids, "remember", monkeypatch)
    other = open_store("agent.aios")
    other.unlink(pa.table({"source_id": ["a"], "target_id": ["b"], "kind": ["user"]}))
    open_store("agent.aios")
    last = other.changes()[-1]
    assert (last.call, last.complete, last.added) == ("import", True, 3)
    assert caplog.text.count("its links are written now") == 1


def test_what_was_whole_is_left_as_it_is(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store, ids = _filled(open_store, "agent.aios")
    with monkeypatch.context() as patch:
        patch.setattr(ChangeLog, "end", lambda *_, **__: None)
        CALLS["remember"](store, ids)
    before = store.links.to_table().to_pylist()
    other = open_store("agent.aios")
    assert other.links.to_table().to_pylist() == before
    other.undo(other.changes()[-1].change_id)
    assert other.memories.count_rows() == len(TEXTS)


def test_nobody_waits_for_one_that_is_writing(open_store: Open) -> None:
    store, ids = _filled(open_store, "agent.aios")
    with store.parts.transactions.changing("forget", "deleting memories of") as transaction:
        transaction.publish(memories=commit.delete(store.memories, store.index.find_ids(ids[:1])))
        other = open_store("agent.aios")
        assert len(other.changes()) == 2
        other.close()
        transaction.draft.deleted = 1
