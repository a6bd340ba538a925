"""Two weight files compared tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.catalog.report import LayerError
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

_PART = 1 << 20  # values of a tensor that are compared at a time


def layer_errors(left: WeightFile, right: WeightFile) -> tuple[LayerError, ...]:
    """Compare the tensors one by one.

    Raises
    ------
    WeightsError
        The files do not hold the same tensors.
    """
    for name in left.layers.keys() ^ right.layers.keys():
        raise WeightsError(f"layer {name!r} is only in one of {left.path} and {right.path}")
    errors = []
    for name, info in right.layers.items():
        if info.shape != left.layers[name].shape:
            raise WeightsError(
                f"layer {name!r} has shape {list(info.shape)} in {right.path}, not "
                f"{list(left.layers[name].shape)}"
            )
        norm, difference = _norms(left.array(name).reshape(-1), right.array(name).reshape(-1))
        errors.append(
            LayerError(
                name, info.quant_type or info.dtype.removeprefix("torch."), bits_per_weight(right, [name]),
                info.num_params, difference / norm if norm else difference,
            )
        )  # fmt: skip
        for file in (left, right):
            file.release(name)
            file.drop_cache()
    return tuple(errors)


def bits_per_weight(file: WeightFile, names: Iterable[str]) -> float:
    """Return the bits of the values, scales and zero points of these tensors, over the number of weights."""
    size = weights = 0
    for name in names:
        layer = file.raw(name)
        size += layer.nbytes
        weights += layer.info.num_params
    return 8 * size / weights if weights else 0.0


def _norms(original: NDArray[Any], candidate: NDArray[Any]) -> tuple[float, float]:
    """Return the norm of the original and that of the difference, summed in float64 part by part."""
    squares = np.zeros(2)
    for start in range(0, original.size, _PART):
        part = slice(start, start + _PART)
        values = original[part].astype(np.float64)
        difference = values - candidate[part]
        squares += values @ values, difference @ difference
    norm, difference_norm = np.sqrt(squares)
    return float(norm), float(difference_norm)
