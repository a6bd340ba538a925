"""What `kill_writer` repeats of fitting the joint space: of pictures that are colours, and words for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import aios_db

_COLOURS = tuple((red, green, blue) for red in (0, 120, 240) for green in (0, 120, 240) for blue in (0, 240))
_FITTED = "SELECT version FROM weight_versions WHERE space = 'joint' AND is_active"
_ONE_SPACE = """
    SELECT count(DISTINCT joint_weight_version) <= 1 AND count(joint_embedding) = count(joint_weight_version)
    FROM memories
"""


def seen(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean colour, and its squares and products."""
    mean = pictures.reshape(len(pictures), -1, 3).astype(np.float32).mean(1) / 255
    return np.concatenate([mean, mean**2, mean * np.roll(mean, 1, axis=1)], axis=1)


class Words:
    """Embeds a text as the sum of its words, under the name of what embedded the memories there are."""

    dimension, version = 16, "stand-in@000000000000"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        sums = np.stack([np.sum([_direction(word) for word in text.split()], axis=0) for text in texts])
        unit: NDArray[np.float32] = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
        return unit


def _direction(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(int.from_bytes(word.encode()[-8:], "little")).normal(size=16)


def fit(con: aios_db.Connection, number: int, text: str) -> tuple[dict[str, Any], Callable[[], object]]:
    """Fit another space, in which every memory is to be."""
    if number == 1:
        con.store.database.texts.given = Words()
        con.register_encoder("colour", "image", 9, seen, size=8)
    pairs = [
        {"text": f"r{red} g{green} b{blue}", "image": _picture((red, green, blue), each)}
        for each in range(2)
        for red, green, blue in _COLOURS
    ]
    return (
        {"state": _FITTED, "holds": _ONE_SPACE},
        lambda: con.fit_fusion(pairs, name=f"space-{number}", cached=False),
    )


def _picture(colour: tuple[int, int, int], seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 4, (8, 8, 3))
    file = BytesIO()
    Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
