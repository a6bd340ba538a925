"""The log of changes: one record per call, by whom and how much, whatever becomes of its process."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_helpers import DIMENSION, memory_rows

from aios_db.disk.framed_log import FramedLog
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import IntegrityError, OperationalError, ProgrammingError
from aios_db.security.scope import Scope
from aios_db.store import links as links_module
from aios_db.store import writes as writes_module
from aios_db.store.change_log import begin_anew, step_back
from aios_db.store.origin import shape

SECRET = "the code is 4711"


def _config(**storage: Any) -> Config:
    return Config(storage=StorageConfig(dimension=DIMENSION, **storage))


def _told(store: MemoryStore) -> list[tuple[Any, ...]]:
    return [(each.call, each.added, each.updated, each.deleted, each.links) for each in store.changes()]


def test_each_call_is_logged_once_with_who_and_how_much(store: MemoryStore) -> None:
    first, second = store.remember(memory_rows(["red lamp", "green tea"]))
    store.remember(memory_rows(["red lamp"]))
    store.update(memory_rows(["blue lamp"]).append_column("memory_id", [[first]]))
    store.link(_link(first, second))
    store.link(_link(first, second))
    store.unlink(_link(first, second).drop_columns(["weight"]))
    store.forget([second, "nobody"])
    store.erase([first])
    assert _told(store) == [
        ("remember", 2, 0, 0, 0),
        ("remember", 0, 1, 0, 0),  # once more
        ("update", 0, 1, 0, 0),
        ("link", 0, 0, 0, 1),
        ("link", 0, 0, 0, 1),
        ("unlink", 0, 0, 0, 1),
        ("forget", 0, 0, 1, 0),
        ("erase", 0, 0, 1, 0),
    ]
    found = store.changes()
    assert [each.change_id for each in found] == list(range(1, 9))
    assert {(each.process_id, each.complete, each.undoes, each.statement) for each in found} == {
        (os.getpid(), True, None, None)
    }
    assert {each.program for each in found} == {os.path.basename(sys.argv[0])}
    for before, after in itertools.pairwise(found):
        assert before.changed_at < after.changed_at
        assert before.memories_after <= after.memories_before  # maintenance has versions, too


def test_what_wrote_nothing_is_not_logged(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.remember(memory_rows(["one", "two"]))
    ids = store.memories.to_table(columns=["memory_id"])["memory_id"].to_pylist()
    store.forget(["nobody"])
    store.unlink(_link(*ids).drop_columns(["weight"]))
    with pytest.raises(IntegrityError):
        store.update(memory_rows(["two"]).append_column("memory_id", [[ids[0]]]))
    with pytest.raises(ProgrammingError):
        store.link(_link(ids[0], "nobody"))
    with monkeypatch.context() as patched, pytest.raises(OperationalError, match="full"):
        patched.setattr(writes_module, "commit", _raise(OSError("full")))
        store.remember(memory_rows(["three"]))
    store.flush()
    store.optimize()
    store.remember(memory_rows(["four"]))
    assert _told(store) == [("remember", 2, 0, 0, 0), ("remember", 1, 0, 0, 0)]
    assert [each.change_id for each in store.changes()] == [1, 2]


def test_a_call_that_breaks_off_is_brought_to_its_end_by_the_next(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = store.remember(memory_rows(["one two three four", "one two three five"]))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(links_module, "delete_at", _raise(KeyboardInterrupt()))
        store.forget(ids[:1])
    last = store.changes()[-1]  # what is committed is told at once
    assert (last.change_id, last.call, last.deleted, last.complete) == (2, "forget", None, False)
    store.refresh()
    assert store.memories.count_rows() == 1 and store.links.count_rows() == 1
    store.remember(memory_rows(["seven"]))
    broken = store.changes()[1]
    assert (broken.call, broken.deleted, broken.links, broken.complete) == ("forget", 1, 1, True)
    assert store.links.count_rows() == 0


def _killed_between_its_commits(path: Path) -> None:
    store = MemoryStore.open(path, config=_config())
    links_module.delete_at = lambda *_: os._exit(9)  # type: ignore[assignment]
    store.forget(store.memories.to_table(columns=["memory_id"])["memory_id"].to_pylist()[:1])


def test_a_call_whose_process_was_killed_is_logged_by_the_next(
    open_store: Callable[..., MemoryStore], tmp_path: Path
) -> None:
    store = open_store()
    store.remember(memory_rows(["one", "two"]))
    process = multiprocessing.get_context("spawn").Process(
        target=_killed_between_its_commits, args=(tmp_path / "agent.aios",)
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    last = store.changes()[-1]
    assert (last.call, last.complete, last.process_id) == ("forget", False, process.pid)
    store.remember(memory_rows(["three"]))
    assert [(each.call, each.complete, each.process_id) for each in store.changes()] == [
        ("remember", True, os.getpid()),
        ("forget", True, process.pid),
        ("remember", True, os.getpid()),
    ]


def test_the_log_is_bounded_and_outlives_maintenance(tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "agent.aios", config=_config(keep_changes=3, durability="normal"))
    other = MemoryStore.open(tmp_path / "agent.aios", config=_config(keep_changes=3, durability="normal"))
    ids = store.remember(memory_rows(["one", "two"]))
    for number in range(120):
        (store if number % 2 else other).link(_link(*ids))
    found = [each.change_id for each in store.changes()]
    assert found == list(range(121 - len(found) + 1, 122)) and 3 <= len(found) <= 2 * 3 + 100
    assert found[0] > 100  # rewritten on the way
    store.erase(ids[:1])
    assert store.changes()[-1].call == "erase" and store.changes()[0].change_id == found[0]
    store.close()
    other.close()


def test_a_record_has_values_alone_and_one_with_names_is_read_too(tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "m.aios", config=_config())
    store.remember(memory_rows(["red lamp"]))
    told = store.changes()
    store.close()
    contents: list[bytes] = []
    log = FramedLog(store.path / "changes.log", contents.clear, contents.append)
    log.catch_up()
    assert len(contents[0]) < 200
    named = {**vars(told[0]), "changed_at": told[0].changed_at.timestamp()}
    known = {name: value for name, value in named.items() if value is not None}
    log.rewrite(contents[0][:8] + json.dumps(known).encode())
    again = MemoryStore.open(store.path, config=_config())
    assert again.changes() == told
    again.close()


def test_without_a_log_nothing_is_written(tmp_path: Path) -> None:
    with_none = MemoryStore.open(tmp_path / "agent.aios", config=_config(keep_changes=0))
    with_none.remember(memory_rows(["one"]))
    assert with_none.changes() == []
    with_none.close()
    assert not [each for each in (tmp_path / "agent.aios").iterdir() if each.name.startswith("changes")]


def test_a_scope_sees_its_own_changes(open_store: Callable[..., MemoryStore]) -> None:
    everything = open_store()
    ada, bo = (open_store(scope=Scope(user_id=user)) for user in ("ada", "bo"))
    agent = open_store(scope=Scope(user_id="ada", agent_id="cook"))
    for number, store in enumerate((everything, ada, bo, agent)):
        store.remember(memory_rows([f"text {number}"]))
    assert [each.change_id for each in everything.changes()] == [1, 2, 3, 4]
    assert [each.change_id for each in ada.changes()] == [2, 4]
    assert [each.change_id for each in bo.changes()] == [3]
    assert [(each.change_id, each.agent_id) for each in agent.changes()] == [(4, "cook")]


def test_a_log_that_cannot_be_written_costs_no_memory(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store.change_log._log, "append", _raise(OSError("full")))
        store.remember(memory_rows(["one"]))
    assert "change 1 is not in the log yet: full" in caplog.text
    store.remember(memory_rows(["two"]))
    assert [(each.change_id, each.complete) for each in store.changes()] == [(1, True), (2, True)]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"change_id": 1}\n', bytes(range(64, 256)), b"null\n"]
)
def test_nonsense_about_the_change_that_was_begun_is_passed_over(store: MemoryStore, damage: bytes) -> None:
    store.remember(memory_rows(["one"]))
    (store.path / "changes.begun").write_bytes(damage)
    store.remember(memory_rows(["two"]))
    assert [each.change_id for each in store.changes()] == [1, 2]


VALUES = st.one_of(
    st.text(min_size=1).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.integers(0).map(str),
    st.floats(0, allow_nan=False, allow_infinity=False).map(repr),
    st.just(f"$$ {SECRET} $$"),
    st.integers(0, 2**40).map(hex),
)


@given(VALUES, VALUES)
def test_no_value_of_a_statement_is_told(first: str, second: str) -> None:
    query = f'SELECT remember({first}, title := {second}) AS "{SECRET}" /* {SECRET} */ -- {SECRET}'
    assert shape(query.replace("\0", "")) == "SELECT remember (?, title := ?) AS ?"


def test_the_log_holds_no_text(store: MemoryStore) -> None:
    store.remember(memory_rows([SECRET], title=SECRET, session_id=SECRET))
    for path in store.path.glob("changes*"):
        assert SECRET.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    begun = json.loads((store.path / "changes.begun").read_bytes().partition(b"\n")[0])
    assert begun["call"] == "remember"


def _link(source: str, target: str) -> Any:
    import pyarrow as pa

    return pa.table({"source_id": [source], "target_id": [target], "kind": ["user"], "weight": [0.5]})


def _raise(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_versions_that_are_counted_anew_are_told(store: MemoryStore) -> None:
    ids = store.remember(memory_rows(["one", "two"]))
    store.link(_link(*ids))
    before = store.changes()
    begin_anew(store.path, "sync_log")
    assert store.changes() == before
    begin_anew(store.path, "association_links")
    for was, now in zip(before, store.changes(), strict=True):
        assert now == replace(was, links_before=0, links_after=0)
    with pytest.raises(OperationalError, match="change 2 cannot be undone: there is no version 0"):
        store.undo(2)


@pytest.mark.parametrize("torn", [b"\0" * 700, b"\0" * 5, b"junk", b"\xff" * 300])
def test_a_log_that_ends_in_what_a_loss_of_power_leaves_goes_on(
    open_store: Callable[..., MemoryStore], torn: bytes
) -> None:
    store = open_store()
    store.remember(memory_rows(["one"]))
    store.close()
    with (store.path / "changes.log").open("ab") as file:
        file.write(torn)
    step_back(store.path, "memories", 2)
    assert [(each.change_id, each.complete) for each in store.changes()] == [(1, False)]
    with (store.path / "changes.log").open("ab") as file:
        file.write(torn)
    again = open_store()
    again.remember(memory_rows(["two"]))
    assert [each.change_id for each in again.changes()] == [1, 2]
