"""A small world: things of one of some colours, each with a tone of its own and words for it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import aios_db

soundfile = pytest.importorskip("soundfile")
Image = pytest.importorskip("PIL.Image")

COLOURS = {
    "red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "yellow": (230, 220, 30),
    "black": (10, 10, 10), "white": (240, 240, 240), "pink": (240, 120, 190), "orange": (240, 140, 20),
}  # fmt: skip
WORDS = list(COLOURS)
RATE = 16_000


def picture(colour: str, seed: int = 0, size: tuple[int, int] = (40, 32), kind: str = "PNG") -> bytes:
    random = np.random.default_rng(seed)
    pixels = np.clip(np.array(COLOURS[colour]) + random.normal(0, 12, (size[1], size[0], 3)), 0, 255)
    buffer = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def tone(colour: str, seed: int = 0, seconds: float = 0.3, rate: int = RATE) -> bytes:
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.3 * np.sin(2 * np.pi * (300 + 250 * WORDS.index(colour)) * time) + random.normal(
        0, 0.01, time.size
    )
    buffer = BytesIO()
    soundfile.write(buffer, samples.astype(np.float32), rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def seen(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean colours of the four quarters."""
    n, size = len(pictures), pictures.shape[1] // 2
    quarters = pictures.reshape(n, 2, size, 2, size, 3).astype(np.float32).mean((2, 4))
    return quarters.reshape(n, 12)


def heard(sounds: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Energy in 24 bands."""
    spectra = [np.abs(np.fft.rfft(sound, 4096))[:1200].reshape(24, 50).mean(1) for sound in sounds]
    return np.log1p(np.stack(spectra)).astype(np.float32)


QUARTERS = aios_db.MediaEncoder("quarters", "image", 12, seen, size=32)


def pairs(count: int = 8) -> list[dict[str, Any]]:
    """Things of each colour, as pairs."""
    return [
        {
            "text": [f"a {colour} thing", f"something {colour}"],
            "image": picture(colour, seed),
            "audio": tone(colour, seed),
        }
        for seed in range(count)
        for colour in COLOURS
    ]


def register(con: aios_db.Connection) -> None:
    con.register_encoder("quarters", "image", 12, seen, size=32)
    con.register_encoder("bands", "audio", 24, heard)
