from __future__ import annotations

import pytest
import torch

from aios_db.engine.quantization import rounding
from aios_db.engine.quantization.gptq import GptqSettings, relative_error, solve
from aios_db.engine.quantization.rounding import Grid, quantize, search


@pytest.fixture(scope="module")
def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(150, 150, generator=generator)
    inputs = torch.randn(2000, 150, generator=generator) @ mixing * 0.1
    inputs += 0.3 * torch.randn(2000, 150, generator=generator)
    return torch.randn(48, 150, generator=generator) * 0.05, inputs.T @ inputs / len(inputs)


@pytest.mark.parametrize("grid", [Grid(2), Grid(2, 64), Grid(2, symmetric=True), Grid(2, -1)], ids=str)
def test_gptq_beats_rounding_and_refinement_beats_gptq(
    problem: tuple[torch.Tensor, torch.Tensor], grid: Grid
) -> None:
    weight, hessian = problem
    rounded = relative_error(quantize(weight, grid, searched=True), weight, hessian)
    plain = relative_error(solve(weight, hessian, grid, GptqSettings(refinements=0)), weight, hessian)
    refined = relative_error(solve(weight, hessian, grid, GptqSettings(refinements=2)), weight, hessian)
    assert plain < 0.8 * rounded
    assert refined < 0.95 * plain


@pytest.mark.parametrize(
    "grid", [Grid(2, 64), Grid(2, -1), Grid(2, planes=(0, 1, 2) * 16)], ids=["groups", "whole", "rows"]
)
def test_scales_searched_part_by_part_are_the_same(
    problem: tuple[torch.Tensor, torch.Tensor], grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = grid.blocks(problem[0])
    whole = search(blocks, grid)
    monkeypatch.setattr(rounding, "_CACHED", 1000)  # a few rows
    for one, other in zip(whole, search(blocks, grid), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_codes_stand_on_the_grid(problem: tuple[torch.Tensor, torch.Tensor]) -> None:
    quantized = solve(*problem, Grid(2, 64), GptqSettings())
    assert quantized.codes.unique().tolist() == [-2, -1, 0, 1]
    assert quantized.dequantize().shape == (48, 150)


def test_uncorrelated_inputs_need_no_compensation() -> None:
    weight = torch.randn(5, 20, generator=torch.Generator().manual_seed(1))
    solved = solve(weight, torch.eye(20), Grid(2), GptqSettings(refinements=0, damping=0.0))
    assert torch.equal(solved.dequantize(), quantize(weight, Grid(2), searched=True).dequantize())


def test_inputs_that_never_occur_do_not_matter() -> None:
    hessian = torch.diag(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    solved = solve(torch.randn(6, 4), hessian, Grid(2), GptqSettings(act_order=False))
    assert solved.dequantize().isfinite().all()
    assert solve(torch.randn(6, 4), torch.zeros(4, 4), Grid(2), GptqSettings()).dequantize().isfinite().all()
