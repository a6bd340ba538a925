"""What is checked of a version that was sent before anything is done with it."""

from __future__ import annotations

import math

import numpy as np

from aios_db.federation.card import LoraCard
from aios_db.federation.delta import vector
from aios_db.federation.messages import SyncError

_LONGEST_NAME = 200


_MOST_MODULES = 10_000
_LONGEST_MODULE = 500
_MOST_METADATA = 1 << 16
_MOST_SIZE = 1e3  # root of the mean square of a factor's numbers; trained ones are below 10
_MOST_SCALE = 1e3  # that a product is multiplied by; 1 to 64 are usual


def is_name(name: str) -> bool:
    """Tell whether a card may have a name."""
    fits = bool(name.strip()) and len(name) <= _LONGEST_NAME
    return fits and name.isprintable() and not set(name) & set("/\\@")


def check_name(name: str) -> None:
    """Raise `SyncError` for a name that is no card's."""
    if not is_name(name):
        raise SyncError.because("unknown", f"{name[:_LONGEST_NAME]!r} is no name of a card")


def check_version(card: LoraCard, base: LoraCard | None, max_change: float) -> None:
    """Raise `SyncError` for a version that cannot be: other shapes, or too large, or too large a change.

    NaN, infinity and shapes that contradict each other no `LoraCard` has. One without a base may have any
    shapes, and numbers of any size that trained ones have.

    Parameters
    ----------
    max_change
        Norm of the change, as a share of that of ``base``.
    """
    _check_size(card)
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


def _check_size(card: LoraCard) -> None:
    metadata = sum(len(key) + len(value) for key, value in card.metadata.items())
    longest = max(map(len, card.modules))
    for what, is_, most in (
        ("modules", len(card.modules), _MOST_MODULES),
        ("characters in the name of a module", longest, _LONGEST_MODULE),
        ("characters of metadata", metadata + sum(map(len, card.target_modules)), _MOST_METADATA),
    ):
        if is_ > most:
            raise SyncError.because("size", f"{card.version} has {is_} {what}, of at most {most}")
    for name, array in card.arrays():
        size = float(np.sqrt(np.mean(np.square(array.astype(np.float64)))))
        if not size <= _MOST_SIZE:
            raise SyncError.because(
                "value",
                f"{card.version}: the numbers of {name!r} are of size {size:.4g}, of at most {_MOST_SIZE:g}",
            )
    for module in card.modules:
        if abs(scale := card.scale(module)) > _MOST_SCALE:
            raise SyncError.because(
                "value", f"{card.version}: {module!r} has scale {scale:.4g}, of at most {_MOST_SCALE:g}"
            )
