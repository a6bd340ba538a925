"""Features of several modalities are made side by side: each has its part of the cores, the last one all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from joint_world import heard, pairs, seen

import aios_db
from aios_db.engine.backends import threads
from aios_db.engine.backends.threads import SideBySide

CORES = 6
World = Callable[..., aios_db.Connection]


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> Any:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "usable_cores", lambda: CORES)
    torch.set_num_threads(CORES)
    yield
    torch.set_num_threads(before)


def test_each_has_its_part_until_another_has_ended() -> None:
    side = SideBySide(3)
    with side.part():
        assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), side.one():
        _ = 1 // 0  # one that fails leaves its cores, too
    with side.one(), side.part():
        assert torch.get_num_threads() == 3
    with side.part():
        assert torch.get_num_threads() == CORES
    assert SideBySide(CORES + 2).share == 1


def test_sounds_leave_cores_to_pictures_that_are_made_beside_them(world: World) -> None:
    begun, used = threading.Event(), []

    def see(pictures: Any) -> Any:
        begun.wait(60)
        return seen(pictures)

    def hear(sounds: Any) -> Any:
        used.append(torch.get_num_threads())
        begun.set()
        return heard(sounds)

    with world() as con:
        con.register_encoder("bands", "audio", 24, hear)
        begun.set()
        con.register_encoder("quarters", "image", 12, see, size=32)
        begun.clear()
        used.clear()
        con.fit_fusion(pairs(2), cached=False)
    assert used[0] in (2, 3)  # texts may have come to their end
    assert torch.get_num_threads() == CORES
