from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_helpers import memory_rows
from writer_process import BULK

from aios_db.memory_store import MemoryStore
from aios_db.store.repair import RepairReport

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
Open = Callable[..., MemoryStore]


KILLS = int(os.environ.get("AIOS_FAULT_TRIES", "10"))
WRITES = 7 * max(10, KILLS)
"""Of each of two writers."""
_STARTED: list[subprocess.Popen[str]] = []

pytestmark = pytest.mark.timeout(90 * KILLS)  # thousands of writes that are forced to a disk others use, too


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    while _STARTED:
        with _STARTED.pop() as process:
            process.kill()


def start(mode: str, path: Path, name: str = "w", count: int = 0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "writer_process.py"), mode, str(path), name, str(count)]
    pipe = subprocess.PIPE
    _STARTED.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment))
    return _STARTED[-1]


def finish(process: subprocess.Popen[str], timeout: float = 800) -> str:
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    assert "conflict" not in err.lower(), err
    return out


@pytest.mark.slow
def test_two_writers_and_a_reader_share_a_database(open_store: Open, tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    open_store().close()
    writers = [start("write", path, name, WRITES) for name in ("ann", "bob")]
    reader = start("read", path, count=2 * WRITES)
    acknowledged = [line.split("\t") for writer in writers for line in finish(writer).splitlines()]
    reads = int(finish(reader).split()[1])
    assert reads >= 3
    assert len({memory_id for memory_id, _ in acknowledged}) == 2 * WRITES

    store = open_store()
    rows = store.memories.to_table(columns=["memory_id", "text"]).to_pylist()
    assert {(row["memory_id"], row["text"]) for row in rows} == {(each, text) for each, text in acknowledged}
    assert len(rows) == 2 * WRITES
    assert store.repair().dangling_links == 0
    # Compaction went on in the background: many commits to a table leave fewer fragments.
    assert store.stats().fragments < 1.2 * WRITES


def batches(store: MemoryStore) -> Counter[str]:
    """Return how many memories there are of each batch of each bulk writer."""
    texts = store.memories.to_table(columns=["text"])["text"].to_pylist()
    assert len(set(texts)) == len(texts)
    return Counter(text.partition(" says ")[0] for text in texts)


@pytest.mark.slow
def test_two_writers_in_bulk_and_a_reader_share_a_database(open_store: Open, tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    open_store().close()
    writers = [start("bulk", path, name, 4) for name in ("ann", "bob")]
    reader = start("read", path, count=8 * BULK)
    for writer in writers:
        assert finish(writer).splitlines() == [f"{batch}\t{BULK}" for batch in range(4)]
    assert int(finish(reader).split()[1]) >= 3

    store = open_store()
    assert batches(store) == {f"{name} {batch}": BULK for name in ("ann", "bob") for batch in range(4)}
    assert len(store.index) == 8 * BULK
    # Every turn but the last two of each session of each writer links to the next two.
    kinds = Counter(store.links.to_table(columns=["kind"])["kind"].to_pylist())
    turns, sessions = 4 * BULK, BULK // 10
    assert kinds["next_in_session"] == 2 * (2 * turns - 3 * sessions)
    report = store.repair()
    assert (report.dangling_links, report.repeated_links) == (0, 0)


@pytest.mark.slow
def test_a_killed_bulk_writer_leaves_whole_batches(open_store: Open, tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    open_store().close()
    acknowledged: set[str] = set()
    chance = random.Random(11)
    for round_ in range(max(4, KILLS // 2)):
        writer = start("bulk", path, f"r{round_}", 100)
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(chance.uniform(0, 0.5))
        writer.kill()
        rest, errors = writer.communicate(timeout=60)
        assert writer.returncode == -9, errors
        lines += rest.splitlines(keepends=True)
        acknowledged |= {f"r{round_} {line.partition(chr(9))[0]}" for line in lines if line.endswith("\n")}
        store = open_store(read_only=round_ % 2 == 1)
        found = batches(store)
        assert acknowledged <= found.keys()
        assert set(found.values()) == {BULK}
        assert len(store.index) == sum(found.values())
        store.close()
    assert len(acknowledged) >= 4
    store = open_store()
    store.repair()
    assert store.repair() == RepairReport(0, 0, 0)


@pytest.mark.slow
def test_the_same_content_from_two_processes_is_one_memory(open_store: Open, tmp_path: Path) -> None:
    open_store().close()
    writers = [start("same", tmp_path / "agent.aios", name, 50) for name in ("ann", "bob")]
    first, second = (finish(writer).splitlines() for writer in writers)
    assert first == second
    rows = open_store().memories.to_table(columns=["access_count"])["access_count"].to_pylist()
    assert rows == [1] * 50


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_it_acknowledged(open_store: Open, tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    open_store().close()
    acknowledged: dict[str, str] = {}
    chance = random.Random(7)
    rounds_with_success = 0
    for round_ in range(KILLS):
        writer = start("write", path, f"round {round_}", 10_000)
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]  # the process is up; killed from here on at any moment
        time.sleep(chance.uniform(0, 0.25))
        writer.kill()
        rest, errors = writer.communicate(timeout=60)
        assert writer.returncode == -9, errors
        lines += rest.splitlines()
        complete = [line.rstrip("\n").split("\t") for line in lines if line.count("\t") == 1]
        acknowledged.update(complete)
        rounds_with_success += bool(complete)

        store = open_store(read_only=round_ % 2 == 1)
        rows = store.memories.to_table(columns=["memory_id", "text"]).to_pylist()
        stored = {row["memory_id"]: row["text"] for row in rows}
        assert len(stored) == len(rows)
        assert acknowledged.items() <= stored.items()
        assert (store.index.find_ids(list(acknowledged)) >= 0).all()
        store.close()
    assert rounds_with_success == KILLS
    store = open_store()
    store.repair()
    (again,) = store.remember(memory_rows([next(iter(acknowledged.values()))], session_id="s"))
    assert again == next(iter(acknowledged))
