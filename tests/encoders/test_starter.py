"""A process's short calls do not wait for torch."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aios_db
from aios_db.engine.encoders import starter as starter_module
from aios_db.engine.encoders.starter import STARTER_TOKENS, Starter

SHORT = [(np.ones((1, 8), np.int64), np.ones((1, 8), np.int64))]
LONG = [(np.ones((STARTER_TOKENS // 8 + 1, 8), np.int64),) * 2]


class Model:
    def run(self, ids: Any, mask: Any) -> Any:
        return ids.sum(axis=1, keepdims=True).astype(np.float32)


def make(prepare: Callable[[], None]) -> Starter:
    return Starter(Model(), prepare)  # type: ignore[arg-type]


def test_it_answers_until_the_session_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "WORTH_S", 0.0)
    may_end, calls = threading.Event(), []

    def prepare() -> None:
        calls.append(1)
        may_end.wait(60)

    starter = make(prepare)
    assert not starter.takes(LONG)
    for _ in range(3):
        assert starter.takes(SHORT)
        assert starter.run(SHORT)[0].tolist() == [[8.0]]
    may_end.set()
    assert starter._thread is not None
    starter._thread.join(60)
    assert calls == [1]
    assert not starter.takes(SHORT)


def test_the_process_waits_for_what_gets_ready_whoever_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "WORTH_S", 0.0)
    starter = make(lambda: None)
    asks = threading.Thread(target=starter.run, args=(SHORT,), daemon=True)  # as DuckDB's are to Python
    asks.start()
    asks.join(60)
    assert starter._thread is not None and not starter._thread.daemon
    starter._thread.join(60)


def test_a_few_calls_prepare_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "WORTH_S", 1e9)
    starter = make(lambda: pytest.fail("prepared"))
    for _ in range(20):
        starter.run(SHORT)
    assert starter._thread is None


def test_a_failure_to_prepare_is_left_to_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "WORTH_S", 0.0)

    def prepare() -> None:
        raise OSError("no libtorch")

    starter = make(prepare)
    starter.run(SHORT)
    assert starter._thread is not None
    starter._thread.join(60)
    assert not starter.takes(SHORT)


def test_torch_that_is_there_is_not_waited_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", object())
    assert make(lambda: pytest.fail("prepared")).takes(SHORT)


def test_what_other_processes_take_of_the_processor_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(Model):
        def run(self, ids: Any, mask: Any) -> Any:
            time.sleep(0.2)
            return super().run(ids, mask)

    monkeypatch.setattr(starter_module, "WORTH_S", 0.1)
    starter = Starter(Waiting(), lambda: pytest.fail("prepared"))  # type: ignore[arg-type]
    starter.run(SHORT)
    assert starter._thread is None


RECALLS = """
import sys
import aios_db
from aios_db.engine.encoders import starter
con = aios_db.connect(sys.argv[1])
found = [con.recall("where is the green key?", k=1)[0] for _ in range(4)]
print("torch" in sys.modules, "openvino" in sys.modules)
starter.WORTH_S = 0.0
con.recall("where is the green key?", k=1)
engine = con.store.encoder._load()
engine._starter._thread.join(300)
last = con.recall("where is the green key?", k=1)[0]
print(not engine._starter.takes([]), {row.memory_id for row in found} == {last.memory_id})
con.close()
"""


def test_recalls_of_a_process_wait_for_no_import(
    tmp_path: Path, minilm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOS_ENGINE__TEXT_MODEL", str(minilm_dir))
    path = tmp_path / "agent.aios"
    with aios_db.connect(path) as con:
        con.remember(["The green key is in the drawer", "Ada likes tea", "It rained in Oslo"])
    done = subprocess.run(
        [sys.executable, "-c", RECALLS, str(path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False", "True", "True"]


def test_a_warm_connection_answers_from_the_session(
    tmp_path: Path, minilm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOS_ENGINE__TEXT_MODEL", str(minilm_dir))
    monkeypatch.setenv("AIOS_CPU__BACKEND", "standard")
    with aios_db.connect(tmp_path / "agent.aios") as con:
        con.remember(["The green key is in the drawer"])
        engine = con.store.encoder._load()  # type: ignore[attr-defined]
        engine.settle()
        assert engine._starter is None or not engine._starter.takes(SHORT)
        assert len(con.recall("the key", k=1)) == 1
