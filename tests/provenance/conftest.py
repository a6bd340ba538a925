"""Databases with sources that are trusted more and less, embedded by a stand-in for a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import aios_db
from aios_db import session as module
from aios_db.config import Config
from aios_db.schema.config import LinksConfig, StorageConfig, TrustConfig

Connect = Callable[..., aios_db.Connection]


class WordsEncoder:
    """A text is the sum of its words' directions."""

    dimension, version = 8, "words@000000000000"

    def __init__(self, config: Config) -> None:
        self._words: dict[str, NDArray[np.float64]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> NDArray[np.float32]:
        total = np.sum([self._word(word) for word in text.lower().split() or [text]], axis=0)
        found: NDArray[np.float32] = (total / np.linalg.norm(total)).astype(np.float32)
        return found

    def _word(self, word: str) -> NDArray[np.float64]:
        if word not in self._words:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
            self._words[word] = np.random.default_rng(seed).normal(size=self.dimension)
        return self._words[word]

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LazyEncoder", WordsEncoder)


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Open the database, or another by name, with some trust; what is open at the end is closed."""
    opened = []

    def open_(name: str = "agent", trust: TrustConfig | None = None, **arguments: Any) -> aios_db.Connection:
        config = replace(
            Config(),
            storage=StorageConfig(dimension=8, durability="normal"),
            links=LinksConfig(reinforce_recalled=False),
            trust=trust or TrustConfig(),
        )
        opened.append(aios_db.connect(tmp_path / f"{name}.aios", config=config, **arguments))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()
