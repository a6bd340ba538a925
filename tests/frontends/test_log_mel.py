"""The log-mel front end against WhisperFeatureExtractor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aios_db.engine.frontends.log_mel import log_mel, mel_filters

transformers = pytest.importorskip("transformers")


def tone(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    return (np.sin(2 * np.pi * 440 * time) * 0.3 + rng.normal(0, 0.02, time.size)).astype(np.float32)


@pytest.mark.parametrize("num_mel_bins", [80, 128])
def test_filters_equal_transformers(num_mel_bins: int) -> None:
    reference = transformers.WhisperFeatureExtractor(feature_size=num_mel_bins).mel_filters.T
    np.testing.assert_allclose(mel_filters(num_mel_bins).numpy(), reference, atol=1e-7)


@pytest.mark.parametrize("seconds", [0.013, 1.0, 30.0])
def test_padded_window_equals_the_feature_extractor(seconds: float) -> None:
    samples = tone(seconds)
    extract = transformers.WhisperFeatureExtractor()
    expected = extract(samples, sampling_rate=16_000, return_tensors="pt").input_features
    padded = torch.zeros(1, 480_000)
    padded[0, : samples.size] = torch.from_numpy(samples)
    torch.testing.assert_close(log_mel(padded), expected, atol=1e-4, rtol=0)


def test_each_clip_of_a_batch_has_its_own_scale() -> None:
    loud, quiet = torch.from_numpy(tone(1.0)), torch.from_numpy(tone(1.0, seed=1)) * 1e-3
    both = log_mel(torch.stack((loud, quiet)))
    torch.testing.assert_close(both[1:], log_mel(quiet[None]), atol=1e-5, rtol=0)
    assert both.shape == (2, 80, 100)


def test_silence_is_finite() -> None:
    assert torch.equal(log_mel(torch.zeros(1, 3200)), torch.full((1, 80, 20), -1.5))
