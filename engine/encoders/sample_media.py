"""Made-up sounds and pictures on which back ends are checked and timed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sample_sound(seed: int, seconds: float, rate: int) -> NDArray[np.float32]:
    """Make something like speech: a wavering pitch with overtones, four syllables a second, some noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 * 1.2**seed + 30 * np.sin(2 * np.pi * 1.3 * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)) ** 2
    sound: NDArray[np.float64] = 0.1 * voice * syllables + random.normal(0, 0.003, time.size)
    return sound.astype(np.float32)


def sample_pixels(seed: int, size: int) -> NDArray[np.float32]:
    """Make a normalised picture (3, size, size) of a few coloured waves."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = [
        random.normal(0, 1, (3, 1, 1)) * np.sin(2 * np.pi * (fx * x + fy * y) + phase)
        for fx, fy, phase in random.uniform(0, 8, (6, 3))
    ]
    picture: NDArray[np.float32] = np.clip(sum(waves), -1.8, 2.1).astype(np.float32)
    return picture


def sample_picture(seed: int, size: int) -> NDArray[np.uint8]:
    """Make a picture (size, size, 3), RGB, of a few coloured waves."""
    pixels = sample_pixels(seed, size).transpose(1, 2, 0)
    picture: NDArray[np.uint8] = ((pixels + 2.1) / 4.2 * 255).clip(0, 255).astype(np.uint8)
    return picture
