"""What was fitted, remembered or asked is not encoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from joint_world import pairs, picture, seen, tone
from numpy.typing import NDArray

import aios_db
from aios_db.engine.encoders.features import Read
from aios_db.joint.recent import RecentFeatures
from aios_db.schema.errors import DataError


def _lengths(items: Sequence[bytes | str]) -> list[Read]:
    return [np.full(4, len(item), np.float32) if item else DataError("empty") for item in items]


def test_a_picture_that_was_remembered_is_not_encoded_when_it_asks(
    world: Callable[..., aios_db.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    with world() as con:
        counted: list[int] = []

        def counting(views: NDArray[np.uint8]) -> NDArray[np.float32]:
            counted.append(len(views))
            return seen(views)

        con.register_encoder("quarters", "image", 12, counting, size=32)
        con.fit_fusion(pairs(), cached=False)
        counted.clear()
        memory = con.remember(image=picture("red", 100))
        assert sum(counted) == 9  # views
        for _ in range(2):
            assert con.recall(image=picture("red", 100), k=1)[0].memory_id == memory
        con.recall(image=picture("red", 100), audio=tone("red", 100), k=1)
        assert sum(counted) == 9
        con.remember(image=picture("red", 1))  # one of the pairs
        assert sum(counted) == 9
        con.recall(image=picture("red", 101))
        assert sum(counted) == 18


def test_only_what_is_not_known_is_made_and_errors_are_not_kept() -> None:
    recent = RecentFeatures()
    asked: list[list[bytes | str]] = []

    def make(items: Sequence[bytes | str]) -> list[Read]:
        asked.append(list(items))
        return _lengths(items)

    first, fault, third = recent.read("a@1", ["x", "", "x"], make)
    assert isinstance(first, np.ndarray) and isinstance(third, np.ndarray)
    assert first.tolist() == third.tolist() == [1, 1, 1, 1]
    assert isinstance(fault, DataError)
    recent.read("a@1", ["x", "", "yy"], make)
    recent.read("a@2", ["x"], make)
    assert asked == [["x", ""], ["", "yy"], ["x"]]


def test_what_was_used_last_stays() -> None:
    recent = RecentFeatures(most_bytes=2 * 16)
    made: list[bytes | str] = []

    def make(items: Sequence[bytes | str]) -> list[Read]:
        made.extend(items)
        return _lengths(items)

    for item in ("a", "bb", "a", "ccc", "a", "bb"):
        recent.read("v", [item], make)
    assert made == ["a", "bb", "ccc", "bb"]
