"""Who waits for whom, and for how long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_helpers import memory_rows

from aios_db.disk.lock import WriteLock
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config
from aios_db.schema.errors import InterfaceError, OperationalError
from aios_db.store.change_log import ChangeLog, Draft

Open = Callable[..., MemoryStore]


def in_a_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_a_writer_waits_for_its_own_maintenance_as_long_as_it_takes(
    open_store: Open, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = replace(config, storage=replace(config.storage, lock_timeout_s=0.05))
    store = open_store(config=impatient)
    inside, go_on = threading.Event(), threading.Event()

    def slow(*arguments: object) -> object:
        inside.set()
        assert go_on.wait(60)
        return arguments[0]

    monkeypatch.setattr("aios_db.store.deferring.write_column", slow)
    store.remember(memory_rows(["a", "b"], session_id="s"))
    maintenance, _ = in_a_thread(store.maintain)
    assert inside.wait(60)
    writer, written = in_a_thread(lambda: store.remember(memory_rows(["c"], session_id="s")))
    writer.join(0.5)
    assert writer.is_alive()
    assert not written
    go_on.set()
    writer.join(60)
    maintenance.join(60)
    (ids,) = written
    assert isinstance(ids, list), ids
    assert (store.index.find_ids(ids) >= 0).all()


def test_another_process_is_waited_for_no_longer_than_the_limit(tmp_path: Path) -> None:
    with WriteLock(tmp_path / "lock", 1).hold():
        start = time.monotonic()
        with pytest.raises(OperationalError, match=r"another process has held .*lock for 0\.2 s"):
            WriteLock(tmp_path / "lock", 0.2).hold().__enter__()
        assert 0.2 <= time.monotonic() - start < 5
    with WriteLock(tmp_path / "lock", 0).hold():
        pass


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_threads_wait_for_another_process_side_by_side_and_not_one_after_the_other(tmp_path: Path) -> None:
    lock, other = WriteLock(tmp_path / "lock", 1.0), WriteLock(tmp_path / "lock", 0)
    start = time.monotonic()
    with other.hold():
        threads = [in_a_thread(lambda: lock.hold().__enter__()) for _ in range(5)]
        for thread, results in threads:
            thread.join()
            assert "has held" in str(results[0])
        assert 1.0 <= time.monotonic() - start < 3.0
        begun = time.monotonic()
        with pytest.raises(OperationalError, match="has held"):
            lock.hold().__enter__()
        assert time.monotonic() - begun >= 1.0, "who comes later has the whole time"


def test_who_waited_for_a_thread_that_wrote_has_the_whole_time_for_another_process(tmp_path: Path) -> None:
    lock, other = WriteLock(tmp_path / "lock", 2.0), WriteLock(tmp_path / "lock", 0)
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with lock.hold():
            inside.set()
            assert go_on.wait(60)

    with other.hold():
        first, _ = in_a_thread(write)
        time.sleep(0.5)
        second, results = in_a_thread(lambda: lock.hold().__enter__())
        time.sleep(0.5)
    assert inside.wait(60)
    assert lock._kept_out_s == lock._entered_at_s > 0.5
    go_on.set()
    first.join()
    second.join()
    assert not isinstance(results[0], Exception)


def test_the_time_that_a_process_was_stopped_is_not_time_waited(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aios_db.disk.lock import WriteLock\n"
        "print('waiting', flush=True)\n"
        "with WriteLock(Path(sys.argv[1]), 3).hold(): print('held', flush=True)\n"
    )
    with WriteLock(tmp_path / "lock", 1).hold():
        command = [sys.executable, "-c", code, str(tmp_path / "lock")]
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        waiting.send_signal(signal.SIGSTOP)
        time.sleep(3.5)
        waiting.send_signal(signal.SIGCONT)
        time.sleep(0.2)
    out, error = waiting.communicate(timeout=20)
    assert out == "held\n", error


def test_the_lock_is_re_entrant_and_free_again_after_a_failure(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock", 0.1)
    with pytest.raises(ValueError, match="inside"), lock.hold(), lock.hold():
        raise ValueError("inside")
    with WriteLock(tmp_path / "lock", 0).hold():
        pass


@pytest.mark.parametrize("step", ["_wait_for_threads", "_wait_for_processes"])
def test_an_interrupt_right_after_a_step_leaves_nothing_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    lock = WriteLock(tmp_path / "lock", 0)
    take = getattr(lock, step)

    def taken_and_interrupted(*arguments: object) -> None:
        take(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(lock, step, taken_and_interrupted)
        with lock.hold():
            pass
    with WriteLock(tmp_path / "lock", 0).hold():  # another process could have it
        pass
    other, written = in_a_thread(lambda: lock.hold().__enter__())
    other.join(30)
    assert not other.is_alive() and written == [None]


def test_the_holder_takes_it_again_and_keeps_it_until_the_first_ends(tmp_path: Path) -> None:
    lock, another = WriteLock(tmp_path / "lock", 0), WriteLock(tmp_path / "lock", 0)
    with lock.hold():
        with lock.hold():
            assert lock.is_free() and not another.is_free()
        assert not another.is_free()
    assert another.is_free() and lock.is_free()


def test_closing_waits_for_a_change_that_another_thread_has_begun(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the change finds an empty index, and says of memories that are there that they are not."""
    store = open_store()
    [memory] = store.remember(memory_rows(["Ada plays the viola."]))
    store.maintain()  # closing has nothing to write, which would wait, too
    begin, closing = ChangeLog.begin, threading.Thread(target=store.close)

    def begin_and_close(self: ChangeLog, *args: Any) -> Draft:
        draft = begin(self, *args)
        if not closing.ident:
            closing.start()
            closing.join(0.5)
        return draft

    monkeypatch.setattr(ChangeLog, "begin", begin_and_close)
    assert store.forget([memory]) == 1
    closing.join()
    with pytest.raises(InterfaceError, match="is closed"):
        store.forget([memory])


def test_a_writer_that_waited_while_the_database_was_closed_is_told_so(open_store: Open) -> None:
    store = open_store()
    [memory] = store.remember(memory_rows(["Ada plays the viola."]))
    store.maintain()
    with store.lock.hold():
        waiting, results = in_a_thread(lambda: store.forget([memory]))
        time.sleep(0.2)
        store.close()
    waiting.join()
    [error] = results
    assert isinstance(error, InterfaceError)
    assert "is closed" in str(error)
