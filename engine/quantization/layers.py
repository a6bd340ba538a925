"""Quantize the linear layers inside a model's blocks, each on what the layers before it really produce."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from aios_db.engine.quantization.gptq import GptqSettings, damp, relative_error, solve
from aios_db.engine.quantization.moments import BlockWalk, Means, Moments
from aios_db.engine.quantization.rounding import Grid, Quantized, quantize, quantize_in_8_bits
from aios_db.engine.quantization.subject import Batch

Done = Callable[[str, Quantized, float], None]
"""Called with a layer's name, its quantized weight and the relative squared error of its output.

Rounding does not look at how inputs go together and gives the error for independent ones.
"""


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
        The original and a copy of it, which is changed; or one model, when ``done`` undoes each change.
    settings
        How GPTQ works; None is rounding to nearest with searched scales.
    grids
        By name. Of one of 8 bits that is not symmetric the zero points are left out where they gain nothing.
    known
        Layers that an earlier run has quantized already, with their biases in ``model``.
    advanced
        Called after each block.
    """
    results = dict(known or {})
    put_back(model, results)
    walk = BlockWalk(reference, model, batches)
    for _ in range(len(walk)):
        for stage in walk.stages():
            names = [name for name in stage if name in grids and name not in results]
            if not names:
                continue
            moments = walk.moments(stage) if settings else None
            means: Means | None = moments
            if not moments and any(_asks(_linear(model, name), grids[name]) for name in names):
                means = walk.means(stage)
            for name in names:
                linear = _linear(model, name)
                if moments and settings:
                    quantized, error = _solve(linear, moments, grids[name], settings)
                else:
                    quantized, error = _round(linear, means, grids[name])
                if means and linear.bias is not None:
                    _correct_bias(linear, _linear(reference, name), means, quantized)
                linear.weight.data = quantized.dequantize()
                # All layers' integers are kept: a byte each.
                results[name] = replace(quantized, codes=quantized.codes.to(torch.int8))
                done(name, results[name], error)
        if advanced:
            advanced()
        walk.advance()
    return results


def put_back(model: nn.Module, quantized: Mapping[str, Quantized]) -> None:
    """Give the layers of ``model`` the rounded weights that an earlier run found."""
    for name, layer in quantized.items():
        linear = _linear(model, name)
        linear.weight.data = layer.to(linear.weight.device).dequantize()


def _asks(linear: nn.Linear, grid: Grid) -> bool:
    """Whether rounding asks about the layer's inputs: for its bias, or to find its scales."""
    return linear.bias is not None or grid.bits < 8


def _round(linear: nn.Linear, means: Means | None, grid: Grid) -> tuple[Quantized, float]:
    weight = linear.weight.detach()
    size = weight.new_ones(weight.shape[1])
    if means:
        size = means.square if linear.bias is None else means.square - means.mean**2
    importance = size.clamp_min(0).expand_as(weight)
    if grid.bits == 8:
        quantized = quantize_in_8_bits(weight, importance=importance, zero_points=not grid.symmetric)
    else:
        quantized = quantize(weight, grid, importance=grid.importances(importance), searched=True)
    error, whole = ((value**2 * importance).sum() for value in (quantized.dequantize() - weight, weight))
    return quantized, float(error / whole.clamp_min(1e-30))


def _solve(
    linear: nn.Linear, moments: Moments, grid: Grid, settings: GptqSettings
) -> tuple[Quantized, float]:
    weight = linear.weight.detach()
    if linear.bias is not None:
        moments = moments.centred()
    target = _compensated(weight, moments, settings.damping)
    if grid.bits == 8:  # which rounding does well
        sizes = moments.hessian.diagonal().clamp_min(0).expand_as(target)
        quantized = quantize_in_8_bits(target, importance=sizes, zero_points=not grid.symmetric)
    else:
        quantized = solve(target, moments.hessian, grid, settings)
    return quantized, relative_error(quantized, target, moments.hessian)


def _compensated(weight: Tensor, moments: Moments, damping: float) -> Tensor:
    """Return the weight that best makes the reference's output out of the quantized model's input."""
    if moments.cross is moments.hessian:
        return weight  # the inputs are the original ones
    hessian = damp(moments.hessian, damping)
    cross = moments.cross + (hessian - moments.hessian)
    solved: Tensor = torch.linalg.solve(hessian, cross.T)
    return weight @ solved.T


def _correct_bias(linear: nn.Linear, original: nn.Linear, means: Means, quantized: Quantized) -> None:
    shift = original.weight @ means.reference_mean - quantized.dequantize() @ means.mean
    linear.bias.data = original.bias.data + shift.detach()


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module
