"""Error feedback (Seide et al. 2014): what was not sent of a change is added to the next one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aios_db.federation.card import LoraCard
from aios_db.federation.delta import Delta, sparse_delta
from aios_db.federation.sparse import Sparsity, Values

DECAY = 0.95
"""What is left of a debt after a round, unless it is said otherwise."""


@dataclass
class Feedback:
    """What a sender still owes.

    Attributes
    ----------
    decay
        What is left of the debt after a round: below 1 what was owed for long is forgotten, since the model
        has moved on.
    residual
        float32 (parameters of the card,); None before the first change.
    """

    decay: float = DECAY
    residual: Values | None = None

    def send(self, base: LoraCard, change: Values, sparsity: Sparsity) -> tuple[Delta, LoraCard, Values]:
        """Return the delta for a change and what was owed, its result, and the debt once it has arrived.

        The debt is not changed: assign it to ``residual`` when the receiver has the delta.
        """
        wanted = change.astype(np.float32)
        if self.residual is not None and self.residual.shape == change.shape:
            wanted = wanted + np.float32(self.decay) * self.residual
        delta, result, sent = sparse_delta(base, wanted, sparsity)
        return delta, result, (wanted - sent).astype(np.float32)
