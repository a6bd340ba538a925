"""The number formats of V2 weight files, in NumPy: ``x = (q - zero_point) * scale``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.weights.int2 import int2_values, packed_size
from aios_db.schema.errors import WeightsError

QUANT_TYPES = ("int8", "int2", "fp16", "fp32")


def packed_bytes(quant_type: str, count: int) -> int:
    """Return how many bytes ``count`` values take as ``quant_type``; int2 without planes."""
    if quant_type not in QUANT_TYPES:
        raise WeightsError(f"quant_type {quant_type!r} is not one of {', '.join(QUANT_TYPES)}")
    return {"int8": count, "int2": packed_size(count), "fp16": 2 * count, "fp32": 4 * count}[quant_type]


def quantized_values(data: Any, quant_type: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Return the values q, float32 of ``shape``, of an int8 or int2 tensor's raw bytes (any buffer).

    Raises
    ------
    WeightsError
        There are not as many bytes as ``shape`` asks for.
    """
    raw, count = np.frombuffer(data, dtype=np.uint8), math.prod(shape)
    if quant_type == "int2":
        return int2_values(raw, *matrix_shape(shape)).reshape(shape)
    if raw.size != count:
        raise WeightsError(f"{count} {quant_type} values take {count} bytes, not {raw.size}")
    return raw.view(np.int8).astype(np.float32).reshape(shape)


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return (output channels, weights of one) of a tensor."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def expand_parameters(
    parameters: NDArray[np.float32], shape: Sequence[int], group_size: int, quant_axis: int | None
) -> NDArray[np.float32]:
    """Return scales or zero points as an array that broadcasts against a tensor of ``shape``.

    One value is for the whole tensor. With ``group_size`` > 0 each value serves that many consecutive
    weights of the last axis (its last group may be short), or, in files whose count says so, of the
    flattened tensor. Otherwise there is one value for each index of ``quant_axis`` (default: the first
    axis).

    Raises
    ------
    WeightsError
        The number of values fits none of these.
    """
    count, last = math.prod(shape), (shape[-1] if shape else 1)
    if parameters.size == 1:
        return parameters.reshape((1,) * len(shape))
    if group_size > 0:
        group_size = min(group_size, max(count, 1))  # a group never reaches past the tensor
        rows, groups = (count // last if last else 0), -(-last // group_size)
        if parameters.size == rows * groups:
            expanded = np.repeat(parameters.reshape(rows, groups), min(group_size, last), axis=1)[:, :last]
            return expanded.reshape(tuple(shape))
        if parameters.size == -(-count // group_size):
            return np.repeat(parameters, group_size)[:count].reshape(tuple(shape))
    else:
        axis = 0 if quant_axis is None or quant_axis < 0 else quant_axis
        if axis < len(shape) and parameters.size == shape[axis]:
            return parameters.reshape(tuple(-1 if i == axis else 1 for i in range(len(shape))))
    raise WeightsError(
        f"{parameters.size} scales or zero points do not fit shape {list(shape)}"
        f" with group_size {group_size} and quant_axis {quant_axis}"
    )


def dequantize(  # noqa: PLR0917 - the columns of the file, in its order
    data: Any,
    quant_type: str,
    scales: Any,
    zero_points: Any,
    shape: Sequence[int],
    group_size: int = 0,
    quant_axis: int | None = None,
) -> NDArray[np.float32]:
    """Return a V2 tensor as float32 of ``shape``.

    Parameters
    ----------
    data, scales, zero_points
        Buffers: raw values in ``quant_type``, float32 scales, float32 zero points. No zero points means 0.
    group_size, quant_axis
        As stored; see `expand_parameters`.

    Raises
    ------
    WeightsError
        A length does not fit ``shape``, or ``quant_type`` is unknown.
    """
    shape = tuple(int(size) for size in shape)
    if any(size < 0 for size in shape):
        raise WeightsError(f"shape {list(shape)} has a negative size")
    if quant_type not in ("int8", "int2"):
        raw, size = np.frombuffer(data, dtype=np.uint8), packed_bytes(quant_type, math.prod(shape))
        if raw.size != size:
            raise WeightsError(f"{math.prod(shape)} {quant_type} values take {size} bytes, not {raw.size}")
        stored = raw.view(np.float16 if quant_type == "fp16" else np.float32)
        return stored.astype(np.float32).reshape(shape)
    values = quantized_values(data, quant_type, shape)
    scale = _parameters(scales, "scales")
    if not scale.size:
        raise WeightsError(f"a {quant_type} tensor needs scales")
    zero_point = _parameters(zero_points, "zero_points")
    if zero_point.size:
        values -= expand_parameters(zero_point, shape, group_size, quant_axis)
    values *= expand_parameters(scale, shape, group_size, quant_axis)
    return values


def _parameters(buffer: Any, what: str) -> NDArray[np.float32]:
    raw = np.frombuffer(buffer if buffer is not None else b"", dtype=np.uint8)
    if raw.size % 4:
        raise WeightsError(f"{what} are {raw.size} bytes, which is no whole number of float32 values")
    return raw.view(np.float32)
