"""What is checked of a version that was sent before anything is done with it."""

from __future__ import annotations

import math

import numpy as np

from aios_db.federation.card import LoraCard
from aios_db.federation.delta import vector
from aios_db.federation.messages import SyncError

_LONGEST_NAME = 200


def check_name(name: str) -> None:
    """Raise `SyncError` for a name that is no card's."""
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable() or set(name) & set("/\\@"):
        raise SyncError.because("unknown", f"{name[:_LONGEST_NAME]!r} is no name of a card")


def check_version(card: LoraCard, base: LoraCard | None, max_change: float) -> None:
    """Raise `SyncError` for a version that does not follow ``base``: other shapes, or too large a change.

    NaN, infinity and shapes that contradict each other no `LoraCard` has.

    Parameters
    ----------
    max_change
        Norm of the change, as a share of that of ``base``.
    """
    if base is None:
        return
    if (reason := base.mismatch(card)) is not None:
        raise SyncError.because("shape", f"{card.version} is no version of {base.name}: {reason}")
    old = vector(base).astype(np.float64)
    size, change = (float(np.linalg.norm(each)) for each in (old, vector(card) - old))
    if not math.isfinite(change) or change > max_change * size:
        raise SyncError.because(
            "value",
            f"{card.version} changes {base.version} by {change:.4g}, of at most {max_change * size:.4g}",
        )
