"""Whisper's log-mel spectrogram (Radford et al., 2022), as WhisperFeatureExtractor computes it."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SAMPLE_RATE = 16_000
WINDOW = 400
HOP = 160


def log_mel(samples: Tensor, num_mel_bins: int = 80) -> Tensor:
    """Compute log-mel frames of clips of equal length.

    Each clip is scaled by its own loudest bin: values span at most 8 decades below it.

    Parameters
    ----------
    samples
        (batch, n) float32 at 16 kHz, n a multiple of 160 and greater than 200.
    num_mel_bins
        80, or 128 for Whisper large-v3.

    Returns
    -------
    Tensor
        (batch, num_mel_bins, n / 160) float32, frames of 10 ms.
    """
    window = torch.hann_window(WINDOW, device=samples.device)
    spectrum = torch.stft(samples, WINDOW, HOP, window=window, return_complex=True)[..., :-1]
    power = torch.view_as_real(spectrum).square_().sum(-1)
    logs = (mel_filters(num_mel_bins).to(samples.device) @ power).clamp_(min=1e-10).log10_()
    floor = logs.amax((1, 2), keepdim=True) - 8.0
    return torch.maximum(logs, floor).add_(4.0).mul_(0.25)


@cache
def mel_filters(num_mel_bins: int) -> Tensor:
    """Build Slaney's triangular filters of unit area from 0 to 8 kHz: (num_mel_bins, 201) float32."""
    bins = np.linspace(0.0, SAMPLE_RATE / 2, 1 + WINDOW // 2)
    edges = _mel_to_hertz(np.linspace(0.0, _NYQUIST_MEL, num_mel_bins + 2))
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters = triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(filters.astype(np.float32))


# Slaney's scale: linear below 1 kHz (15 mels), then logarithmic with 27 mels to a factor of 6.4.
_LINEAR_HERTZ, _LINEAR_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27.0
_NYQUIST_MEL = _LINEAR_MEL + np.log(SAMPLE_RATE / 2 / _LINEAR_HERTZ) / _LOG_STEP


def _mel_to_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _LINEAR_HERTZ * np.exp(_LOG_STEP * (mels - _LINEAR_MEL))
    return np.where(mels < _LINEAR_MEL, mels * _LINEAR_HERTZ / _LINEAR_MEL, logarithmic)
