"""What no rounding explains: vectors that are another input's, nobody's, or the same for all inputs.

A mean of cosines does not see two rows exchanged among a hundred, and hardly anything where the vectors of
all inputs are alike, as those of many sound encoders are. Both the choice of a back end and the validator
compare row by row with this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.amounts import amount

LEAST_GAP = 0.002  # of two inputs' vectors (1 - cosine); closer ones cannot be told apart once rounded
NEARER = 0.5  # of the gap: how much nearer to another input's vector a row is that must be that input's
LOST = 0.75  # of the mean gap to other inputs: the error of a row that has nothing to do with its input
UNLIKE_OTHERS = 4.0  # times the median error: the same row when all are poor is no damage of its own
LEAST_SPREAD = 0.25  # of the original's variance
UNRELATED = 0.9  # times the gap to other inputs: the median error of outputs that say nothing of their input
COARSE = 0.25  # of the mean gap: with a median error above this, some rows come to lie by another's vector
COARSE_SHARE = 1 / 3  # of the rows, at most
_NAMED = 5  # rows in a message


def row_failures(original: NDArray[np.float32], candidate: NDArray[np.float32]) -> list[str]:
    """Return in words which rows of ``candidate`` cannot be those of ``original``, both ``(n, dimension)``.

    None are found where rounding alone, however coarse, made the difference; how coarse it may be is for
    thresholds of the mean cosine to say.
    """
    before, after = _unit(original), _unit(candidate)
    broken = np.asarray(~np.isfinite(after).all(axis=1))
    if broken.any():
        return [f"{_rows(broken)} not finite or zero"]
    if len(before) < 2:
        return []
    gaps = 1 - before @ before.T
    across = after @ before.T
    own = np.diagonal(across)
    errors = 1 - own
    usual = float(np.median(errors))
    telling = gaps > max(LEAST_GAP, usual / 2)
    nearer = (across - own[:, None]) > NEARER * gaps
    misplaced = np.asarray((telling & nearer).any(axis=1))
    typical = np.maximum(gaps.sum(axis=1) / (len(gaps) - 1), LEAST_GAP)
    coarse = usual > COARSE * float(typical.mean())
    stands_out = np.asarray(errors > UNLIKE_OTHERS * usual) & (not coarse)
    if misplaced.mean() <= COARSE_SHARE:
        misplaced &= stands_out
    lost = np.asarray(errors > LOST * typical) & stands_out & ~misplaced
    failures = []
    if misplaced.any():
        failures.append(f"{_rows(misplaced)} nearer to another input's vector than to the own one")
    if lost.any():
        failures.append(f"{_rows(lost)} as far from the own vector as another input's would be")
    spread, kept = (float(each.var(axis=0).sum()) for each in (before, after))
    if typical.mean() > LEAST_GAP and kept < LEAST_SPREAD * spread:
        failures.append(f"all inputs get nearly one vector: {kept / spread:.3f} of the original's variance")
    return failures


def unrelated(original: NDArray[np.float32], candidate: NDArray[np.float32]) -> list[str]:
    """Return in words that most rows have nothing to do with ``original``, where no threshold says so."""
    before, after = _unit(original), _unit(candidate)
    if len(before) < 2:
        return []
    errors = 1 - (before * after).sum(axis=1)
    typical = np.maximum(1 - (before @ before.T).mean(axis=1), LEAST_GAP)
    median = float(np.median(errors / typical))
    if median <= UNRELATED:
        return []
    return [f"the outputs are as far from the own ones as other inputs' would be ({median:.2f} of that gap)"]


def _rows(marked: NDArray[np.bool_]) -> str:
    places = np.flatnonzero(marked)
    named = ", ".join(map(str, places[:_NAMED])) + (", …" if len(places) > _NAMED else "")
    return f"{len(places)} of {amount(len(marked), 'vector')} (row {named}) are"


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    with np.errstate(invalid="ignore"):
        unit: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit
