from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_db.engine.weights.int2 import pack_int2
from aios_db.engine.weights.quantized import dequantize
from aios_db.schema.errors import WeightsError


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    st.sampled_from(["tensor", "axis", "group"]),
    st.integers(1, 5),
    st.sampled_from(["int8", "int2"]),
    st.integers(0, 2**32 - 1),
)
def test_dequantize_is_q_minus_zero_point_times_scale(
    shape: tuple[int, ...], granularity: str, group: int, quant_type: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    low, high = (-2, 1) if quant_type == "int2" else (-128, 127)
    q = rng.integers(low, high + 1, shape).astype(np.int8)
    axis = int(rng.integers(len(shape)))
    stored = {
        "tensor": (1,),
        "axis": (shape[axis],),
        "group": (math.prod(shape[:-1]), -(-shape[-1] // group)),
    }[granularity]
    scales, zeros = rng.uniform(0.1, 2, stored).astype(np.float32), rng.normal(size=stored).astype(np.float32)
    result = dequantize(
        pack_int2(q) if quant_type == "int2" else q, quant_type, scales, zeros, shape,
        group if granularity == "group" else 0, axis if granularity == "axis" else -1,
    )  # fmt: skip
    assert result.dtype == np.float32
    for index in np.ndindex(shape):
        if granularity == "tensor":
            at: tuple[int, ...] = (0,)
        elif granularity == "axis":
            at = (index[axis],)
        else:
            row = np.ravel_multi_index(index[:-1], shape[:-1]) if len(shape) > 1 else 0
            at = (int(row), index[-1] // group)
        assert result[index] == pytest.approx((q[index] - zeros[at]) * scales[at], rel=1e-5, abs=1e-6)


def test_groups_over_the_flattened_tensor_are_told_by_their_count() -> None:
    q = np.ones((3, 5), np.int8)
    scales = np.array([1, 2, 3, 4], np.float32)  # ceil(15 / 4); by rows there would be 6
    flat = dequantize(q, "int8", scales, None, (3, 5), 4)
    assert flat.reshape(-1).tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 3


@pytest.mark.parametrize(("quant_type", "dtype"), [("fp16", np.float16), ("fp32", np.float32)])
def test_floats_pass_through(quant_type: str, dtype: type) -> None:
    values = np.array([[1.5, -2.25]], dtype)
    assert np.array_equal(dequantize(values, quant_type, b"", b"", (1, 2)), values.astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"abc", "int8", np.ones(1, np.float32), None, (4,)), "4 int8 values take 4 bytes, not 3"),
        ((b"abcd", "int4", np.ones(1, np.float32), None, (4,)), "quant_type 'int4'"),
        ((b"abcd", "int8", b"", b"", (4,)), "needs scales"),
        ((b"abcd", "int8", b"abc", b"", (4,)), "scales are 3 bytes"),
        ((b"abcd", "int8", np.ones(3, np.float32), b"", (4,)), "do not fit shape"),
        ((b"abcd", "int8", np.ones(3, np.float32), b"", (4,), 1), "do not fit shape"),
        ((b"", "int8", np.ones(1, np.float32), b"", (-1,)), "negative"),
    ],
)
def test_dequantize_refuses_what_does_not_fit(arguments: tuple, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        dequantize(*arguments)
