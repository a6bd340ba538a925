from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aios_db.engine.weights.heaps import cut_short

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
SETTINGS = {"MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}

ALLOCATING = """
import ctypes, threading, numpy as np
import aios_db
from aios_db.config import Config
from aios_db.schema.config import StorageConfig
from aios_db.memory_store import MemoryStore
import sys
store = MemoryStore.open(sys.argv[1], config=Config(storage=StorageConfig(malloc_arenas=int(sys.argv[2]))))
together = threading.Barrier(24)
def allocate():
    together.wait()
    kept = [np.zeros(1000, np.uint8) for _ in range(2000)]
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(24)]
for each in threads: each.start()
for each in threads: each.join()
store.close()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="not glibc")
def test_an_open_database_keeps_the_heaps_few(tmp_path: Path) -> None:
    def heaps(most: int) -> int:
        without = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        command = [sys.executable, "-c", ALLOCATING, str(tmp_path / str(most)), str(most)]
        ran = subprocess.run(command, env=without, capture_output=True, text=True, check=True, timeout=100)
        return len(re.findall(r"^Arena ", ran.stderr, re.MULTILINE))

    few, many = heaps(2), heaps(0)
    assert few <= 4  # some are made while modules are imported
    assert many > few


class Library:
    """Stands in for the C library, which cannot be asked what is set."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.told: list[tuple[int, int]] = []

    def mallopt(self, option: int, value: int) -> int:
        self.told.append((option, value))
        return self.takes


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    library = Library(takes=1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    return library


def test_the_ends_of_heaps_are_cut_short_for_a_while(library: Library) -> None:
    with pytest.raises(AttributeError, match="of the block"), cut_short():
        assert library.told == [(MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 1 << 20)]
        raise AttributeError("of the block")
    assert library.told[2:] == [(TRIM_THRESHOLD, 64 << 20)]


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_of_heaps_stays(
    library: Library, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    with cut_short():
        pass
    assert library.told == []


def test_heaps_stay_as_they_are_where_blocks_cannot_be_kept_in_them(library: Library) -> None:
    library.takes = 0
    with cut_short():
        pass
    assert library.told == [(MMAP_THRESHOLD, 32 << 20)]


def test_another_library_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with cut_short():
        pass
