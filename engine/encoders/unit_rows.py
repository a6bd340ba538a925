"""Scale vectors to unit length, refusing what cannot be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError


def unit_rows(vectors: NDArray[np.float32], file: WeightFile) -> NDArray[np.float32]:
    """Return ``vectors`` (n, dimension) with rows of length 1.

    Raises
    ------
    WeightsError
        A row is zero or not finite, although the model's input was: names the layer of ``file`` that holds
        NaN or infinity, if one does.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        for name in file.layers:
            file.check_finite(name)
        raise WeightsError(f"{file.path}: the model makes vectors that are not finite or zero")
    unit: NDArray[np.float32] = vectors / norms
    return unit
