"""What a trust of less than 1 does to a score; `recall.sql` has the same formula."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_OF_HALF_TRUSTED = 4.0
"""What a memory that is trusted by half comes close to and never reaches, in standard deviations."""
_LEAST = 0.001  # so that what is trusted not at all keeps its order


def ceilings(trust: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a score cannot exceed: ``4 t / (1 - t)``, infinity where the trust is 1."""
    share = np.clip(trust.astype(np.float64), _LEAST, 1.0)
    with np.errstate(divide="ignore"):
        found: NDArray[np.float64] = MOST_OF_HALF_TRUSTED * share / (1.0 - share)
    return found


def capped(scores: NDArray[np.float64], highest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores under their ceilings, in their order; those of full trust stay as they are to the bit."""
    found: NDArray[np.float64] = scores / (1.0 + np.maximum(scores, 0.0) / highest)
    return found
