from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aios_db.engine.quantization.rounding import Grid, quantize
from aios_db.engine.weights.quantized import dequantize
from aios_db.schema.errors import ProgrammingError

GRIDS = st.builds(Grid, bits=st.sampled_from([2, 8]), group_size=st.integers(-1, 9), symmetric=st.booleans())
MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=2, max_side=13),
    elements=st.floats(-1e3, 1e3, width=32),
)


@settings(max_examples=200)
@given(MATRICES, GRIDS)
def test_error_is_at_most_half_a_step(values: np.ndarray, grid: Grid) -> None:
    weight = torch.from_numpy(values)
    quantized = quantize(weight, grid)
    step = grid.unblock(quantized.scale.expand_as(quantized.codes).contiguous(), quantized.shape)
    tolerance = 1e-5 * weight.abs().max() + 1e-7
    assert ((quantized.dequantize() - weight).abs() <= step / 2 + tolerance).all()


@settings(max_examples=200)
@given(MATRICES, GRIDS)
def test_stored_layer_dequantizes_to_the_same_values(values: np.ndarray, grid: Grid) -> None:
    quantized = quantize(torch.from_numpy(values), grid)
    layer = quantized.to_layer("w")
    layer.info.check()
    restored = dequantize(
        layer.data, layer.info.quant_type, layer.scales, layer.zero_points,
        layer.info.shape, layer.info.group_size, layer.info.quant_axis,
    )  # fmt: skip
    assert np.array_equal(restored, quantized.dequantize().numpy())
    parts = [layer.data, layer.scales, layer.zero_points]
    assert quantized.bits == 8 * sum(memoryview(part).nbytes for part in parts if part is not None)


@given(MATRICES, GRIDS)
@example(np.array([0, 0, 0, 0, 0, 0, 0, 1, -1, 0], np.float32), Grid(2, 7))  # a short last group
def test_searched_scales_are_never_worse(values: np.ndarray, grid: Grid) -> None:
    weight = torch.from_numpy(values)
    plain = (quantize(weight, grid).dequantize() - weight).square().sum()
    searched = (quantize(weight, grid, searched=True).dequantize() - weight).square().sum()
    assert searched <= plain * 1.001 + 1e-6


def test_search_beats_the_full_span_on_gaussian_weights() -> None:
    weight = torch.randn(64, 384, generator=torch.Generator().manual_seed(0))
    for symmetric, most in ((False, 0.13), (True, 0.16)):
        error = quantize(weight, Grid(2, symmetric=symmetric), searched=True).dequantize() - weight
        assert error.square().mean() < most  # Lloyd-Max with 4 levels: .1175
    assert (quantize(weight, Grid(2)).dequantize() - weight).square().mean() > 0.25


def test_search_weighs_important_inputs() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    importance = torch.ones(64)
    importance[:8] = 100
    grid = Grid(2)

    def error(given: torch.Tensor | None) -> float:
        blocks = None if given is None else grid.blocks(given.expand_as(weight))
        rounded = quantize(weight, grid, importance=blocks, searched=True).dequantize()
        return float(((rounded - weight)[:, :8] ** 2).sum())

    assert error(importance) < 0.7 * error(None)


def test_stored_bits() -> None:
    assert Grid(2).stored_bits((384, 384)) == 2 * 384 * 384 + 64 * 384
    assert Grid(8, symmetric=True).stored_bits((10, 30)) == 8 * 300 + 32 * 10
    assert Grid(2, 64).stored_bits((4, 100)) == 2 * 400 + 64 * 4 * 2
    assert Grid(2, -1).stored_bits((3, 3)) == 8 * math.ceil(18 / 8) + 64


def test_constant_blocks_survive() -> None:
    weight = torch.full((3, 7), 0.1)
    for grid in (Grid(2), Grid(8), Grid(2, 3), Grid(8, symmetric=True)):
        assert torch.allclose(quantize(weight, grid).dequantize(), weight, rtol=1e-3)


@pytest.mark.parametrize(("bits", "group", "message"), [(4, 0, "not 4"), (2, -2, "group_size is -2")])
def test_impossible_grids_are_refused(bits: int, group: int, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        Grid(bits, group)
