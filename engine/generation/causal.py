"""The passes of a causal language model: reading a text, and continuing one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.generation.sampling import Sampler

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from aios_db.engine.architectures.qwen2 import Qwen2ForCausalLM

LOGIT_ROWS = 128
"""Positions whose logits are held at a time: with Qwen2's vocabulary a position takes 600 kB."""
SAMPLED_ROWS, SAMPLED_TOKENS = 4, 1024
"""Of each ``LOGIT_ROWS`` positions and of the vocabulary, in `Reading.outputs`."""


@dataclass(frozen=True)
class Reading:
    """What a language model makes of a text."""

    losses: NDArray[np.float32]
    """-ln p of each token but the first, (tokens,)."""
    outputs: NDArray[np.float32]
    """Logits at a few positions, centred, for tokens evenly picked from the vocabulary: (rows, picked)."""

    @classmethod
    def joined(cls, parts: Sequence[Reading]) -> Reading:
        """Return several in a row; there may be none."""
        if not parts:
            return cls(np.empty(0, np.float32), np.empty((0, 0), np.float32))
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("losses", "outputs"))
        )


@dataclass(frozen=True)
class Running:
    """A network where it runs."""

    network: Qwen2ForCausalLM
    device: torch.device
    """Where its inputs must be."""
    watch: Callable[[], None] = lambda: None
    """To be called before each pass of several: raises when there is no memory for it."""


def continuation(
    running: Running,
    prompt: list[int],
    count: int,
    sampler: Sampler,
    ends: Collection[int],
) -> Iterator[int]:
    """Yield at most ``count`` tokens that follow ``prompt``, up to one that ends texts."""
    import torch

    from aios_db.engine.architectures.qwen2 import KeyValueCache

    cache = KeyValueCache(len(prompt) + count)
    new = prompt
    for _ in range(count):
        running.watch()
        logits = running.network.next_logits(torch.tensor([new], device=running.device), cache)
        token = sampler.pick(logits[0].float().cpu())
        if token in ends:
            return
        yield token
        new = [token]


def read(running: Running, tokens: list[int], first: int) -> Reading:
    """Return what is predicted for ``tokens[first:]``, each from those before it."""
    import torch
    from torch.nn import functional as F

    ids = torch.tensor([tokens], device=running.device)
    hidden = running.network.model(ids[:, :-1])[0]
    parts: list[Reading] = []
    for start in range(first - 1, len(hidden), LOGIT_ROWS):
        running.watch()
        rows = slice(start, start + LOGIT_ROWS)
        logits: Tensor = running.network.lm_head(hidden[rows]).float()
        losses = F.cross_entropy(logits, ids[0, 1:][rows], reduction="none")
        parts.append(Reading(losses.cpu().numpy(), _sampled(logits)))
    return Reading.joined(parts)


def _sampled(logits: Tensor) -> NDArray[np.float32]:
    import torch

    rows = torch.linspace(0, len(logits) - 1, min(SAMPLED_ROWS, len(logits))).round().long().to(logits.device)
    step = -(-logits.shape[1] // SAMPLED_TOKENS)
    centred = logits[rows] - logits[rows].mean(1, keepdim=True)
    picked: NDArray[np.float32] = centred[:, ::step].contiguous().cpu().numpy()
    return picked


def windows(tokens: list[int], size: int) -> Iterator[tuple[list[int], int]]:
    """Yield windows of at most ``size`` tokens, and the position in each from which tokens are new."""
    if len(tokens) < 2:
        return
    yield tokens[:size], 1
    scored = min(size, len(tokens))
    while scored < len(tokens):
        end = min(scored + size - size // 2, len(tokens))
        start = max(0, end - size)
        yield tokens[start:end], scored - start
        scored = end
