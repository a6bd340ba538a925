from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aios_db.engine.weights.int2 import (
    int2_values,
    pack_int2,
    pack_refined,
    planes_of,
    refined_size,
    unpack_int2,
)
from aios_db.engine.weights.quantized import dequantize
from aios_db.schema.errors import WeightsError

PLANES = st.lists(st.integers(0, 6), min_size=1, max_size=9)


def codes_of(planes: list[int], columns: int, seed: int) -> np.ndarray:
    """Any codes that rows of these planes can hold."""
    rng = np.random.default_rng(seed)
    return np.array([rng.integers(-2 * 2**p, 2 * 2**p, columns) for p in planes], np.int16)


@given(hnp.arrays(np.int8, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0), elements=st.integers(-2, 1)))
def test_unpack_int2_undoes_pack(values: np.ndarray) -> None:
    packed = pack_int2(values)
    assert packed.size == -(-values.size // 4)
    assert np.array_equal(unpack_int2(packed, values.size), values.reshape(-1))


def test_int2_puts_the_first_value_in_the_highest_bits() -> None:
    assert pack_int2(np.array([1, -2, -1, 0, 1], np.int8)).tolist() == [0b11_00_01_10, 0b11_00_00_00]


def test_pack_int2_refuses_other_values() -> None:
    with pytest.raises(WeightsError, match=r"-2\.\.2"):
        pack_int2(np.array([2, -2], np.int8))


def test_unpack_int2_refuses_a_wrong_length() -> None:
    with pytest.raises(WeightsError, match="5 int2 values take 2 bytes, not 1"):
        unpack_int2(np.zeros(1, np.uint8), 5)


@given(PLANES, st.integers(1, 11), st.integers(0, 2**32 - 1))
def test_planes_hold_every_code(planes: list[int], columns: int, seed: int) -> None:
    codes = codes_of(planes, columns, seed)
    raw = pack_refined(codes, planes)
    steps = 2.0 ** np.array(planes)[:, None]
    # The middle of the finest steps that a code covers, in coarse steps: exact in float32.
    assert np.array_equal(int2_values(raw, *codes.shape), (codes - (steps - 1) / 2) / steps)


@given(PLANES, st.integers(1, 11), st.integers(0, 2**32 - 1))
def test_a_reader_that_trims_gets_each_value_in_2_bits(planes: list[int], columns: int, seed: int) -> None:
    codes = codes_of(planes, columns, seed)
    raw = pack_refined(codes, planes)
    # As the format is described: four values a byte, the first in the highest bits, less 2, trimmed.
    four = np.stack([raw >> shift & 3 for shift in (6, 4, 2, 0)], 1).reshape(-1)
    coarse = four[: codes.size].reshape(codes.shape).astype(np.float32) - 2
    assert (np.abs(coarse - int2_values(raw, *codes.shape)) < 0.5).all()


def test_planes_by_hand() -> None:
    raw = pack_refined(np.array([[-2, 1], [-8, 7]], np.int16), [0, 2])
    # The 2-bit values, the numbers of planes, and the two bits of the second row.
    assert raw.tolist() == [0b00_11_00_11, 0b00_00_00_10, 0b01_000000, 0b01_000000]
    assert int2_values(raw, 2, 2).tolist() == [[-2, 1], [-2.375, 1.375]]
    floats = dequantize(raw, "int2", np.float32([2]), np.float32([0.5]), (2, 2))
    assert floats.tolist() == [[-5, 1], [-5.75, 1.75]]
    first, second = planes_of(raw, 2, 2)
    assert first.rows.tolist() == second.rows.tolist() == [1]
    assert (first.part, second.part) == (slice(2, 3), slice(3, 4))
    assert planes_of(raw[:1], 2, 2) == ()
    assert refined_size([0, 2], 2) == 3 and refined_size([0] * 5, 9) == 3


@pytest.mark.parametrize("length", [0, 1, 2, 4, 5, 6, 8])
def test_wrong_lengths_are_refused(length: int) -> None:
    raw = pack_refined(np.zeros((4, 3), np.int16), [1, 0, 2, 0])  # 3 + 2 + 1 + 1 bytes
    with pytest.raises(WeightsError, match="bytes, not"):
        int2_values(np.concatenate([raw, raw])[:length], 4, 3)


def test_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"int2 holds -2\.\.1"):
        pack_refined(np.array([[4, 0]], np.int16), [1])
