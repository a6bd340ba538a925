"""Weights are let go of when memory is short: told by a reading that is handed in, and by a real limit."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.weights import residency as residency_module
from aios_db.engine.weights.pressure import MOST, Memory, Pressure, read_memory
from aios_db.engine.weights.residency import ResidencyManager
from aios_db.schema.config import CpuConfig, EngineConfig

GIB = 1 << 30


class Held:
    """Weights of a given size."""

    def __init__(self, log: list[str], name: str, size: int = 100) -> None:
        self.log, self.name, self.size = log, name, size

    def resident_bytes(self) -> int:
        return self.size

    def release(self) -> None:
        self.log.append(self.name)


def use(manager: ResidencyManager, *units: Held) -> None:
    for unit in units:
        manager.begin(unit)
        manager.end(unit)


def machine(root: Path, available: int, total: int) -> Path:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: {total // 1024} kB\nMemAvailable: {available // 1024} kB\n"
    )
    return root


def group(root: Path, path: str, limit: object, used: int, cache: int, *, version: int = 2) -> None:
    place = root / "sys/fs/cgroup" / path
    place.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "") if version == 2 else (
        "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
    )  # fmt: skip
    (place / names[0]).write_text(f"{limit}\n")
    (place / names[1]).write_text(f"{used}\n")
    prefix = names[2]
    (place / "memory.stat").write_text(f"anon 5\n{prefix}inactive_file {cache - 3}\n{prefix}active_file 3\n")


def belongs(root: Path, *lines: str) -> None:
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))


def test_the_machine_is_read(tmp_path: Path) -> None:
    assert read_memory(machine(tmp_path, 3 * GIB, 8 * GIB)) == Memory(3 * GIB, 8 * GIB)
    assert read_memory(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("version", "own", "lines"),
    [
        (2, "", ["0::/"]),  # a container that sees its own group as the top
        (2, "", ["0::/elsewhere/outside"]),
        (2, "a/b", ["0::/a/b"]),
        (2, "unified/a", ["0::/a"]),
        (1, "memory/a/b", ["9:cpu:/a/b", "4:memory:/a/b", "0::/"]),
        (1, "memory", ["4:memory:/docker/1234"]),
    ],
)
def test_the_group_is_read(tmp_path: Path, version: int, own: str, lines: list[str]) -> None:
    machine(tmp_path, 3 * GIB, 8 * GIB)
    belongs(tmp_path, *lines)
    group(tmp_path, own, 1000, 900, 50, version=version)
    assert read_memory(tmp_path) == Memory(150, 1000)


def test_the_group_with_the_least_left_counts(tmp_path: Path) -> None:
    machine(tmp_path, 3 * GIB, 8 * GIB)
    belongs(tmp_path, "0::/pod/container")
    group(tmp_path, "pod/container", "max", 900, 50)
    assert read_memory(tmp_path) == Memory(3 * GIB, 8 * GIB)
    group(tmp_path, "pod", 2000, 1500, 100)
    assert read_memory(tmp_path) == Memory(600, 2000)
    group(tmp_path, "pod/container", 1000, 990, 40)
    assert read_memory(tmp_path) == Memory(50, 1000)
    (tmp_path / "sys/fs/cgroup/pod/container/memory.max").write_text("rubbish")
    assert read_memory(tmp_path) == Memory(600, 2000)


@pytest.mark.parametrize(
    ("share", "available", "total", "high"),
    [
        (0.05, 49, 1000, True),
        (0.05, 50, 1000, False),
        (0.0, 0, 1000, False),
        (1.0, 999, 1000, True),
        (0.05, MOST, 1000 * GIB, False),  # of a terabyte, a GiB is enough
        (0.05, MOST - 1, 1000 * GIB, True),
    ],
)
def test_when_memory_is_short(share: float, available: int, total: int, high: bool) -> None:
    assert Pressure(share, lambda: Memory(available, total)).is_high() is high
    assert not Pressure(share, lambda: None).is_high()


def test_the_least_recently_used_go_until_there_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    taken = [0]
    manager = ResidencyManager(0, Pressure(0.5, lambda: Memory(100 - taken[0] + 20 * len(log), 100)))
    units = [Held(log, name) for name in "abcd"]
    use(manager, *units, units[0])
    manager.begin(units[1])
    assert manager.relieve() == 0
    taken[0] = 80
    wait(lambda: manager.relieve() > 0 or len(log) == 2)
    assert log == ["c", "d"]  # a was used again and b is in use; with these two 60 of 100 are free
    assert "memory is short: released the weights of 2 unused layers" in caplog.text
    manager.end(units[1])


def test_without_a_share_nothing_is_asked() -> None:
    def read() -> Memory:
        raise AssertionError("asked")

    log: list[str] = []
    manager = ResidencyManager(0, Pressure(0.0, read))
    unit = Held(log, "a")
    use(manager, unit)
    assert manager._watcher is None
    assert manager.relieve() == 0
    assert log == []


def test_a_thread_watches_while_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency_module, "LOOK_S", 0.01)
    log: list[str] = []
    left = [100]
    manager = ResidencyManager(0, Pressure(0.5, lambda: Memory(left[0], 100)))
    unit = Held(log, "a")
    use(manager, unit)
    assert log == []
    left[0] = 10
    wait(lambda: log == ["a"])
    watcher = manager._watcher
    assert watcher is not None
    wait(lambda: not watcher.is_alive())  # nothing is left to release
    left[0] = 100
    use(manager, unit)
    assert manager._watcher is not watcher
    del manager, unit
    gc.collect()


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("backend", ["standard", "openvino"])
def test_an_encoder_answers_the_same_after_it_let_go(
    backend: str, minilm_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    caplog.set_level(logging.WARNING)
    left = [100]
    manager = ResidencyManager(0, Pressure(0.5, lambda: Memory(left[0], 100)))
    monkeypatch.setattr("aios_db.engine.catalog.open_model.shared_residency", lambda *_: manager)
    engine = ArrowEngine(minilm_dir, cpu=CpuConfig(backend=backend, precision="fp32"))  # type: ignore[arg-type]
    texts = [f"number {n} of some short texts" for n in range(80)]
    engine.encode(texts)  # the first call of a process may run in NumPy
    before = engine.encode(texts)
    assert manager.relieve() == 0
    held = sum(unit.resident_bytes() for unit in manager._used)
    assert held > 20_000_000
    left[0] = 10
    wait(lambda: manager.relieve() > 0 or "memory is short" in caplog.text)
    left[0] = 100
    assert not manager._used or sum(unit.resident_bytes() for unit in manager._used) < held / 5
    assert np.array_equal(engine.encode(texts), before)
    engine.close()


def test_both_settings_are_those_of_the_configuration(minilm_dir: Path) -> None:
    engine = ArrowEngine(minilm_dir, engine=EngineConfig(max_resident_bytes=77, least_available=0.25))
    manager = engine._model.residency
    assert manager.pressure is not None
    assert (manager.max_bytes, manager.pressure.least_share) == (77, 0.25)
    engine.close()


LIMITED = """
import sys, time
import numpy as np
with open(sys.argv[1] + "/cgroup.procs", "w") as group:
    group.write("0")
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.weights.pressure import read_memory
from aios_db.schema.config import CpuConfig, EngineConfig
cpu, settings = CpuConfig(backend="standard", precision="fp32"), EngineConfig(least_available=0.5)
engine = ArrowEngine(sys.argv[2], cpu=cpu, engine=settings)
texts = ["some text " + "and more " * n for n in range(40)]
engine.encode(texts)
before = engine.encode(texts)
def held():
    residency = engine._model.residency
    with residency._lock:  # which its thread holds as it evicts
        return sum(unit.resident_bytes() for unit in residency._used)
time.sleep(1.5)
full = held()
limit = read_memory().total
ballast = []
while read_memory().available > 0.45 * limit:
    ballast.append(np.ones(1 << 20))  # 8 MB
deadline = time.monotonic() + 60
while held() and time.monotonic() < deadline:
    time.sleep(0.1)
print(limit, full, held(), flush=True)
ballast.clear()
print(np.array_equal(engine.encode(texts), before))
"""


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """A control group of 2 GiB, where this process may make one."""
    tops = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]
    for top in tops:
        path = top / f"aios_db_test_{os.getpid()}"
        limit = "memory.limit_in_bytes" if top.name == "memory" else "memory.max"
        with suppress(OSError):
            path.mkdir()
            try:
                (path / limit).write_text(str(2 * GIB))
                yield path
                return
            finally:
                wait(lambda path=path: not (path / "cgroup.procs").read_text())  # type: ignore[misc]
                path.rmdir()
    pytest.skip("no control group can be made here")


def test_a_real_limit_is_noticed(limited_group: Path, minilm_dir: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limited_group), str(minilm_dir)],
        capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    numbers, same = result.stdout.splitlines()
    limit, full, after = map(int, numbers.split())
    assert limit == 2 * GIB
    assert full > 20_000_000
    assert after == 0
    assert same == "True"
    assert "memory is short" in result.stderr
