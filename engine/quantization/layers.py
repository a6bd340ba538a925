"""Quantize the linear layers inside a model's blocks, each on what the layers before it really produce."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from aios_db.engine.quantization.gptq import GptqSettings, damp, relative_error, solve
from aios_db.engine.quantization.moments import BlockWalk, Moments
from aios_db.engine.quantization.rounding import Grid, Quantized, quantize
from aios_db.engine.quantization.subject import Batch

Done = Callable[[str, Quantized, float], None]
"""Called with a layer's name, its quantized weight and the relative squared error of its output."""


def quantize_layers(
    reference: nn.Module,
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    grids: Mapping[str, Grid],
    settings: GptqSettings | None,
    done: Done,
    known: Mapping[str, Quantized] | None = None,
    advanced: Callable[[], None] | None = None,
) -> dict[str, Quantized]:
    """Quantize the layers named in ``grids`` one block after another; ``model`` takes the rounded weights.

    Each layer is fitted to give, on the quantized model's own inputs, what the reference gives on the
    original ones (GPTAQ, Li et al., 2025); the shift of the mean that remains goes into its bias.

    Parameters
    ----------
    reference, model
        The original and a copy of it, which is changed.
    settings
        How GPTQ works; None is rounding to nearest with searched scales.
    known
        Layers that an earlier run has quantized already, with their biases in ``model``.
    advanced
        Called after each block.
    """
    results = dict(known or {})
    for name, quantized in results.items():
        _linear(model, name).weight.data = quantized.dequantize()
    walk = BlockWalk(reference, model, batches)
    for _ in range(len(walk)):
        for stage in walk.stages():
            names = [name for name in stage if name in grids and name not in results]
            if not names:
                continue
            moments = walk.moments(stage)
            for name in names:
                linear = _linear(model, name)
                quantized, error = _quantize(linear, moments, grids[name], settings)
                _correct_bias(linear, _linear(reference, name), moments, quantized)
                results[name] = quantized
                done(name, quantized, error)
        if advanced:
            advanced()
        walk.advance()
    return results


def _quantize(
    linear: nn.Linear, moments: Moments, grid: Grid, settings: GptqSettings | None
) -> tuple[Quantized, float]:
    weight = linear.weight.detach()
    if linear.bias is not None:
        moments = moments.centred()
    if settings is None:
        importance = grid.importances(moments.hessian.diagonal().clamp_min(0).expand_as(weight))
        quantized = quantize(weight, grid, importance=importance, searched=grid.bits == 2)
        return quantized, relative_error(quantized, weight, moments.hessian)
    target = _compensated(weight, moments, settings.damping)
    rounded_well = grid.bits == 8
    quantized = quantize(target, grid) if rounded_well else solve(target, moments.hessian, grid, settings)
    return quantized, relative_error(quantized, target, moments.hessian)


def _compensated(weight: Tensor, moments: Moments, damping: float) -> Tensor:
    """Return the weight that best makes the reference's output out of the quantized model's input."""
    hessian = damp(moments.hessian, damping)
    cross = moments.cross + (hessian - moments.hessian)
    solved: Tensor = torch.linalg.solve(hessian, cross.T)
    return weight @ solved.T


def _correct_bias(linear: nn.Linear, original: nn.Linear, moments: Moments, quantized: Quantized) -> None:
    rounded = quantized.dequantize()
    if linear.bias is not None:
        shift = original.weight @ moments.reference_mean - rounded @ moments.mean
        linear.bias.data = original.bias.data + shift.detach()
    linear.weight.data = rounded


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module
