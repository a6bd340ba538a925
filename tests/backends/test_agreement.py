"""Outputs at the wrong places are found whatever the mean says; rounding is not taken for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_db.engine.backends.agreement import row_failures

Damage = Callable[[np.ndarray], np.ndarray]


def made(rows: int, seed: int, alike: float) -> np.ndarray:
    """Return unit vectors; ``alike`` is the share of a common direction, as sound encoders' vectors have."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(rows, 96)) * np.sqrt(1 - alike) + np.sqrt(alike * 96) * np.eye(96)[0]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rounded(vectors: np.ndarray, size: float, seed: int = 1) -> np.ndarray:
    """Return vectors with noise of ``size`` times the usual distance of two."""
    random = np.random.default_rng(seed)
    usual = np.linalg.norm(vectors[:-1] - vectors[1:], axis=1).mean()
    noise = random.normal(size=vectors.shape) * size * usual / np.sqrt(vectors.shape[1])
    return (vectors + noise).astype(np.float32)


def exchanged(vectors: np.ndarray) -> np.ndarray:
    copy = vectors.copy()
    copy[[2, 5]] = copy[[5, 2]]
    return copy


def with_row(row: np.ndarray | Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(vectors: np.ndarray) -> np.ndarray:
        copy = vectors.copy()
        copy[3] = row(vectors) if callable(row) else row
        return copy

    return damage


DAMAGES: dict[str, Damage] = {
    "shifted by one": lambda v: np.roll(v, 1, axis=0),
    "shifted back": lambda v: np.roll(v, -1, axis=0),
    "in reverse": lambda v: v[::-1].copy(),
    "permuted": lambda v: np.random.default_rng(7).permutation(v),
    "one pair exchanged": exchanged,
    "one row another's": with_row(lambda v: v[6]),
    "one row the other way": with_row(lambda v: -v[3]),
    "one row of noise": with_row(lambda v: np.random.default_rng(3).normal(size=v.shape[1])),
    "one row NaN": with_row(np.full(96, np.nan, np.float32)),
    "one row zero": with_row(np.zeros(96, np.float32)),
    "all the same": lambda v: np.tile(v[:1], (len(v), 1)),
    "all the mean": lambda v: np.tile(v.mean(axis=0), (len(v), 1)),
    "halves exchanged": lambda v: np.concatenate([v[len(v) // 2 :], v[: len(v) // 2]]),
}


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_behind_a_good_mean_and_among_similar_vectors(
    name: str, noise: float, alike: float
) -> None:
    original = made(40, 0, alike)
    damaged = rounded(DAMAGES[name](original), noise)
    assert row_failures(original, damaged), name


@given(
    rows=st.integers(2, 60),
    seed=st.integers(0, 10_000),
    alike=st.sampled_from([0.0, 0.3, 0.9]),
    noise=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
)
def test_rounding_alone_is_no_damage(rows: int, seed: int, alike: float, noise: float) -> None:
    original = made(rows, seed, alike)
    assert row_failures(original, rounded(original, noise, seed + 1)) == []


@given(st.integers(0, 10_000), st.data())
def test_any_pair_that_differs_is_missed_by_nobody(seed: int, data: Any) -> None:
    original = made(24, seed, 0.5)
    first, second = data.draw(st.lists(st.integers(0, 23), min_size=2, max_size=2, unique=True))
    swapped = rounded(original, 0.03, seed)
    swapped[[first, second]] = swapped[[second, first]]
    (failure,) = row_failures(original, swapped)
    assert f"row {min(first, second)}, {max(first, second)})" in failure


def test_equal_inputs_may_change_places() -> None:
    original = made(12, 0, 0.0)
    original[4] = original[9]
    swapped = original.copy()
    swapped[[4, 9]] = swapped[[9, 4]]
    assert row_failures(original, swapped) == []


def test_one_row_says_nothing_but_whether_it_is_finite() -> None:
    assert row_failures(made(1, 0, 0.0), made(1, 1, 0.0)) == []
    assert row_failures(made(1, 0, 0.0), np.full((1, 96), np.inf, np.float32))
