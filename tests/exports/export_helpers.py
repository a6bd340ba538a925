"""Databases with small vectors, made of a text without a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig

DIMENSION = 4


class SmallEncoder:
    """A direction for each text."""

    version = "small@000000000000"

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") for text in texts]
        vectors = np.stack([np.random.default_rng(seed).standard_normal(self.dimension) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def open_store(path: Path, *, dimension: int = DIMENSION, read_only: bool = False) -> MemoryStore:
    config = Config(storage=StorageConfig(dimension=dimension))
    return MemoryStore.open(path, config=config, encoder=SmallEncoder(dimension), read_only=read_only)
