"""Cards with random numbers."""

from __future__ import annotations

import numpy as np

from aios_db.federation.card import Factors, LoraCard
from aios_db.federation.delta import moved


def card(
    name: str = "skill", seed: int = 0, rank: int = 4, dtype: str = "float32", modules: int = 3
) -> LoraCard:
    random = np.random.default_rng(seed)
    factors = {
        f"encoder.layer.{n}.query": Factors(
            random.normal(size=(rank, 24)).astype(dtype), random.normal(size=(16, rank)).astype(dtype)
        )
        for n in range(modules)
    }
    return LoraCard(name, rank, 2.0 * rank, factors, ("query",))


def changed(base: LoraCard, seed: int = 1, size: float = 1e-2) -> LoraCard:
    random = np.random.default_rng(seed)
    return moved(base, random.normal(0, size, base.parameters).astype(np.float32))
