"""What a process that was killed left beside the memories, or beside an export, goes with the next one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import aios_db
from aios_db.disk.lease import lease
from aios_db.memory_store import MemoryStore
from aios_db.schema.database import JOINT_REEMBEDDING, REEMBEDDING

Open = Callable[..., MemoryStore]
TEXTS, JOINT = "reembed_0123456789ab.lance", "reembed_joint_0123456789ab.lance"


def _left(store: MemoryStore) -> set[str]:
    return {each.name for each in store.path.glob("reembed_*")}


def _filled(open_store: Open) -> MemoryStore:
    store = open_store()
    for name in (TEXTS, JOINT):
        (store.path / name / "_versions").mkdir(parents=True)
    return store


def test_optimize_removes_what_is_quickly_made_again_and_repair_all(open_store: Open) -> None:
    store = _filled(open_store)
    store.optimize()
    assert _left(store) == {TEXTS}
    store.repair()
    assert _left(store) == set()


@pytest.mark.parametrize(("work", "stays"), [(REEMBEDDING, TEXTS), (JOINT_REEMBEDDING, JOINT)])
def test_what_somebody_is_at_stays(open_store: Open, work: str, stays: str) -> None:
    store = _filled(open_store)
    with lease(store.path / work):
        store.repair()
    assert _left(store) == {stays}


def _export(path: Path, place: str) -> object:
    with aios_db.connect(path / "a.aios") as con:
        return con.export(path / place)


def _restore(path: Path, place: str) -> object:
    with aios_db.connect(path / "a.aios") as con:
        con.backup(path / "backups")
    return aios_db.restore(path / "backups", path / place)


@pytest.mark.parametrize("call", [_export, _restore])
def test_half_a_directory_that_a_killed_one_left_goes(
    tmp_path: Path, call: Callable[[Path, str], object]
) -> None:
    left, fresh, other = (
        tmp_path / f".{each}" for each in ("out.abcdefgh", "out.ijklmnop", "other.abcdefgh")
    )
    for each in (left, fresh, other):
        (each / "build").mkdir(parents=True)
    ago = time.time() - 600
    for each in (left, other):
        os.utime(each, (ago, ago))
    call(tmp_path, "out")
    assert not left.exists()
    assert fresh.exists()
    assert other.exists()
    assert (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.*ing-*"))
