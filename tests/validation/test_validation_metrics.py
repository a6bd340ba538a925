from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from aios_db.engine.validation.metrics import compare_vectors, perplexity, spearman
from aios_db.schema.errors import DataError


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 24)).astype(np.float32)


def test_equal_vectors_of_any_length_are_perfect() -> None:
    original = vectors(40)
    metrics = compare_vectors(original, 3 * original)
    assert (metrics.count, metrics.recall_at_10) == (40, 1.0)
    assert min(metrics.cosine_min, metrics.cosine_p5, metrics.cosine_mean, metrics.spearman) > 1 - 1e-6


def test_known_angles_give_known_cosines() -> None:
    angles = np.linspace(0, 0.5, 101)
    original = np.tile(np.array([1, 0], np.float32), (101, 1))
    turned = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    metrics = compare_vectors(original, turned)
    assert metrics.cosine_min == pytest.approx(math.cos(0.5), abs=1e-6)
    assert metrics.cosine_mean == pytest.approx(np.cos(angles).mean(), abs=1e-6)
    assert metrics.cosine_p5 == pytest.approx(np.percentile(np.cos(angles), 5), abs=1e-6)


def test_recall_is_the_share_of_the_ten_nearest_that_stay() -> None:
    original = vectors(300)
    assert compare_vectors(original, vectors(300, seed=1)).recall_at_10 < 0.15  # chance is 10 in 299
    noisy = original + 0.3 * vectors(300, seed=1)
    left, right = ((each / np.linalg.norm(each, axis=1, keepdims=True)) for each in (original, noisy))
    expected = []
    for row in range(300):
        sets = [
            set(sorted(set(range(300)) - {row}, key=lambda other: -float(m[row] @ m[other]))[:10])
            for m in (left, right)
        ]
        expected.append(len(sets[0] & sets[1]) / 10)
    assert compare_vectors(original, noisy).recall_at_10 == pytest.approx(np.mean(expected), abs=0.002)


@given(npst.arrays(np.float64, st.tuples(st.just(2), st.integers(3, 40)), elements=st.integers(-5, 5)))
def test_spearman_is_scipys(pair: np.ndarray) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")  # seconds, which every worker would spend
    if len(np.unique(pair[0])) > 1 and len(np.unique(pair[1])) > 1:
        assert spearman(*pair) == pytest.approx(scipy_stats.spearmanr(*pair).statistic, abs=1e-12)
    else:
        assert spearman(*pair) in (0.0, 1.0)


@pytest.mark.parametrize("bad", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.ones((2, 4)), np.ones(4)])
def test_vectors_that_cannot_be_compared_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="cannot compare vectors"):
        compare_vectors(np.ones((3, 4), np.float32), bad.astype(np.float32))


def test_one_and_two_vectors_have_no_ranks() -> None:
    assert compare_vectors(vectors(1), vectors(1)).spearman == 1.0
    assert compare_vectors(vectors(2), vectors(2)).recall_at_10 == 1.0


def coin(probability: float, tokens: int) -> np.ndarray:
    """Return the losses of a model that predicts every token with one probability."""
    return np.full(tokens, -math.log(probability), np.float32)


def test_perplexity_of_a_fair_choice_is_the_number_of_choices() -> None:
    metrics = perplexity(coin(1 / 8, 4), coin(1 / 10, 4))
    assert (metrics.tokens, metrics.original) == (4, pytest.approx(8))
    assert metrics.increase == pytest.approx(0.25)


def test_perplexity_of_no_or_of_different_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="0 and 0"):
        perplexity(coin(0.5, 0), coin(0.5, 0))
    with pytest.raises(DataError, match="2 and 3"):
        perplexity(coin(0.5, 2), coin(0.5, 3))
