"""A codebook tells sounds by what they are made of, however often and in whatever order."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aios_db.engine.encoders.codebook import LENGTHS, Codebook, stretches

Rows = NDArray[np.float32]
WIDTH = 24
KINDS = np.random.default_rng(9).normal(0, 5, (12, WIDTH)).astype(np.float32)


def states(kinds: list[int], seed: int = 0) -> Rows:
    """Return (8 for each kind, WIDTH): states of a sound that is made of these kinds."""
    noise = np.random.default_rng(seed).normal(0, 0.3, (8 * len(kinds), WIDTH))
    return (np.repeat(KINDS[kinds], 8, axis=0) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return Codebook.fitted([states(list(range(12)), seed) for seed in range(40)])


def test_equal_parts_make_sounds_alike(codebook: Codebook) -> None:
    def alike(first: list[int], second: list[int]) -> float:
        return float(codebook.code(states(first, 101)) @ codebook.code(states(second, 102))) / len(LENGTHS)

    same, half, other = (
        alike([1, 2, 3, 4], [4, 3, 2, 1]),
        alike([1, 2, 3, 4], [1, 2, 5, 6]),
        alike([1, 2], [5, 6]),
    )
    assert same > 0.95 and half < 0.75 and other < 0.5
    assert alike([1, 2], [1, 2, 1, 2]) == pytest.approx(alike([1, 2], [1, 2]), rel=0.05)


def test_a_code_has_length_one_for_each_level_and_finite_numbers(codebook: Codebook) -> None:
    for some in (states([3]), states([3])[:1], 1e6 * states([1, 2]), np.zeros((20_000, WIDTH), np.float32)):
        code = codebook.code(some)
        assert code.dtype == np.float32 and code.shape == (codebook.width,)
        assert np.isfinite(code).all() and code @ code == pytest.approx(len(LENGTHS), abs=1e-3)


def test_it_is_the_same_of_the_same_states_and_after_being_kept(codebook: Codebook) -> None:
    again = Codebook.fitted([states(list(range(12)), seed) for seed in range(40)])
    kept = Codebook.of_flat(codebook.flat())
    for other in (again, kept):
        assert other.digest == codebook.digest
        np.testing.assert_array_equal(other.code(states([1, 2])), codebook.code(states([1, 2])))
    assert Codebook.fitted([states([1, 2, 3, 4])]).digest != codebook.digest


@pytest.mark.parametrize(
    "some", [states([1])[:1], np.zeros((1, WIDTH), np.float32), np.ones((300, WIDTH), np.float32)]
)
def test_few_states_or_equal_ones_make_one_too(some: Rows) -> None:
    code = Codebook.fitted([some]).code(states([1, 2]))
    assert code @ code == pytest.approx(len(LENGTHS), abs=1e-3)


def test_a_stretch_is_the_mean_of_the_states_around_a_state() -> None:
    some = states([1, 2, 3])
    np.testing.assert_array_equal(stretches(some, 1), some)
    around = stretches(some, 5)
    np.testing.assert_allclose(
        around[[0, 9, -1]], [some[:3].mean(0), some[7:12].mean(0), some[-3:].mean(0)], 1e-5
    )
    np.testing.assert_allclose(stretches(some, 15)[2], some[3:18].mean(0), 1e-5)
    assert len(stretches(some, 15)) == 5 and len(stretches(some[:1], 15)) == 1


def test_what_follows_what_is_heard_in_long_stretches() -> None:
    """The same states in another order make no difference to states alone."""
    sounds = [states(np.random.default_rng(seed).permutation(12).tolist(), seed) for seed in range(60)]
    made = Codebook.fitted(sounds)
    first, second = np.tile(KINDS[[1, 2, 3, 4]], (24, 1)), np.repeat(KINDS[[1, 2, 3, 4]], 24, axis=0)
    alike = [
        level.code(stretches(first, length)) @ level.code(stretches(second, length))
        for level, length in zip(made.levels, LENGTHS, strict=True)
    ]
    assert alike[0] > 0.99 and max(alike[1:]) < 0.95
