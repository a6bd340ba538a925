"""The process ends between the commits of an undo or a restore: the next one finds it done or not done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_helpers import memory_rows

from aios_db.checking.checking import check
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config
from aios_db.schema.database import OWED
from aios_db.store import undoing
from aios_db.store.change_log import ChangeLog
from aios_db.store.owed import OwedLinks

Open = Callable[..., MemoryStore]
WORDS = ["the red lamp", "the red lamp again", "green tea", "a viola"]
BOUNDARIES = ["memories", "links", "log", "end"]


def _state(store: MemoryStore) -> tuple[list[Any], list[Any]]:
    columns = [each for each in store.memories.schema.names if each != "association_links"]
    rows = store.memories.to_table(columns=columns).to_pylist()
    return sorted(rows, key=lambda row: row["memory_id"]), sorted(
        map(repr, store.links.to_table().to_pylist())
    )


def _made(open_store: Open) -> MemoryStore:
    """Make a database with changes to undo: memories with links changed, forgotten and stored."""
    store = open_store()
    ids = store.remember(memory_rows(WORDS, session_id="s"))
    store.update(memory_rows(["a blue lamp"]).append_column("memory_id", [[ids[0]]]))
    store.forget(ids[1:3])
    store.remember(memory_rows(["a cello"], session_id="s"))
    return store


def _take_back(store: MemoryStore, what: str) -> object:
    return store.undo(3) if what == "undo" else store.restore(store.changes()[1].memories_before, None)


def _killed(path: Path, config: Config, what: str, boundary: str) -> None:
    """Take a change back in a process that is killed before it commits, or logs, or ends."""

    def kill(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if boundary == "memories":
        undoing.exchange = kill  # type: ignore[assignment]
    elif boundary == "links":
        undoing.OwedLinks.write_to = kill  # type: ignore[assignment, method-assign]
    elif boundary == "log":
        ChangeLog.end = kill  # type: ignore[assignment, method-assign]
    else:
        undoing.forget_owed = kill
    _take_back(MemoryStore.open(path, config=config), what)


def _kill_in(store: MemoryStore, what: str, boundary: str) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_killed, args=(store.path, store.config, what, boundary)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("what", "boundary"), [*(("undo", each) for each in BOUNDARIES), ("restore", "links")]
)
def test_what_a_kill_broke_off_is_done_or_not_done(
    open_store: Open, tmp_path: Path, what: str, boundary: str
) -> None:
    store = _made(open_store)
    before, changes = _state(store), len(store.changes())
    _take_back(store, what)
    after = _state(store)
    store.undo(changes + 1)
    assert _state(store) == before != after
    store.close()

    _kill_in(store, what, boundary)
    if boundary == "links":
        assert OWED in {fault.where for fault in check(store.path, config=store.config).faults}
    store = open_store()
    assert _state(store) == (before if boundary == "memories" else after)
    assert not (store.path / OWED).exists()
    store.flush()
    report = store.repair()
    assert (report.dangling_links, report.repeated_links, report.link_columns) == (0, 0, 0)
    last = [each for each in store.changes() if each.call != "repair"][-1]
    if boundary != "memories":
        assert (last.change_id, last.call, last.complete) == (changes + 3, what, True)
        assert last.links and last.added == 2
        store.undo(last.change_id)
        assert _state(store) == before


@pytest.mark.parametrize("who", ["opens", "is open"])
@pytest.mark.parametrize("what", ["undo", "restore"])
def test_what_did_nothing_is_not_listed(open_store: Open, what: str, who: str) -> None:
    store = _made(open_store)
    told = [each.call for each in store.changes()]
    _kill_in(store, what, "memories")
    if who == "opens":
        store.close()
        store = open_store()
    store.optimize()  # writes versions that are no change
    assert [each.call for each in store.changes()] == told
    store.unlink(_no_links())
    store.remember(memory_rows(["a harp"]))
    assert [each.call for each in store.changes()] == [*told, "remember"]


def test_another_process_that_is_open_finishes_it_before_it_writes(
    open_store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    store = _made(open_store)
    _take_back(store, "undo")
    after = _state(store)
    store.undo(5)
    _kill_in(store, "undo", "links")
    store.refresh()
    assert _state(store)[0] == after[0]
    assert _state(store)[1] != after[1]  # so far
    store.unlink(_no_links())
    assert _state(store) == after
    assert "change 7, an undo, was broken off after its memories; its links are written now" in caplog.text


def test_what_is_owed_is_looked_at_while_others_read(open_store: Open) -> None:
    store = _made(open_store)
    memories, ended = store.memories, threading.Event()
    owed = OwedLinks(
        1, {}, "another", memories.version - 1, [], np.empty(0, np.int64), store.links.schema.empty_table()
    )

    def read() -> int:
        reads = 0
        while not ended.is_set():
            reads += memories.count_rows() > 0
        return reads

    with ThreadPoolExecutor(2) as threads:
        reading = [threads.submit(read) for _ in range(2)]
        try:
            assert not any(owed.is_due(memories) for _ in range(20))
        finally:
            ended.set()
        assert all(each.result() for each in reading)


def test_damage_to_what_is_owed_is_said(open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    store = _made(open_store)
    _kill_in(store, "undo", "links")
    content = bytearray((store.path / OWED).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (store.path / OWED).write_bytes(content)
    store.unlink(_no_links())
    assert f"{OWED} is damaged" in caplog.text
    assert not (store.path / OWED).exists()


def _no_links() -> Any:
    import pyarrow as pa

    return pa.table({"source_id": ["a"], "target_id": ["b"], "kind": ["user"]})
