"""What rounding each row of each linear layer to 2 bits does to the model's output, by its second derivative.

To second order the output moves by the quadratic form of the Fisher information (for an encoder's direction:
of the Gauss-Newton matrix, estimated from random projections of the output). Its diagonal, from gradients of
one text each, times the squared error of rounding, is summed over a row (HAWQ-V2, Dong et al., 2020, does so
for whole layers). A text's gradient adds up over its tokens, so an error that all of them share counts as
often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aios_db.engine.quantization.rounding import Grid, quantize
from aios_db.engine.quantization.subject import Batch, device_of, fast_arithmetic

_CACHED = 1 << 24  # values of single texts' gradients held at a time


def row_sensitivities(
    model: nn.Module,
    linears: Mapping[str, nn.Linear],
    batches: Sequence[Batch],
    grid: Grid,
    *,
    language_model: bool,
    seed: int,
    done: Callable[[int], None],
) -> dict[str, Tensor]:
    """Return for each layer (rows,) estimates of the divergence that rounding a row alone to ``grid`` makes.

    Parameters
    ----------
    model
        The original; its parameters need no gradient.
    linears
        Layers of it by name.
    batches
        Each text in them counts as one.
    language_model
        Whether the model scores tokens instead of embedding its input.
    done
        Called after each batch, of two rounds, with the number of batches done.
    """
    inputs = {name: _Inputs(linear) for name, linear in linears.items()}
    with _hooked(linears, lambda name, batch, x, _: inputs[name].add(batch.rows(x))) as run:
        for number, batch in enumerate(batches, 1):
            with torch.no_grad():
                run(model, batch)
            done(number)
    errors = {name: _squared_error(linears[name], inputs[name], grid) for name in linears}
    totals = {name: linear.weight.new_zeros(len(linear.weight)) for name, linear in linears.items()}
    generator = torch.Generator().manual_seed(seed)

    def watch(name: str, batch: Batch, x: Tensor, output: Tensor) -> None:
        x = _counted(batch, x - inputs[name].shift)

        def add(gradient: Tensor) -> None:
            totals[name].add_(_row_sums(_counted(batch, gradient.float()), x, errors[name]))

        output.register_hook(add)  # type: ignore[no-untyped-call]

    texts = 0
    with _hooked(linears, watch) as run:
        for number, batch in enumerate(batches, 1):
            output = run(model, batch)
            _drawn(batch, output, generator, language_model=language_model).backward()  # type: ignore[no-untyped-call]
            texts += len(batch.arguments[0])
            done(len(batches) + number)
    return {name: total.cpu() / (2 * texts) for name, total in totals.items()}


class _Inputs:
    """Mean and variance of a layer's inputs, over tokens; of what a bias takes, only the variance is left."""

    def __init__(self, linear: nn.Linear) -> None:
        self._centred = linear.bias is not None
        self._count = 0
        self._sum, self._squares = linear.weight.new_zeros(2, linear.in_features)

    def add(self, x: Tensor) -> None:
        self._count += len(x)
        self._sum += x.sum(0)
        self._squares += x.square().sum(0)

    @property
    def shift(self) -> Tensor:
        """What is taken from inputs: (columns,)."""
        return self._sum / self._count if self._centred else torch.zeros_like(self._sum)

    @property
    def variance(self) -> Tensor:
        """Mean of the squares of what is left: (columns,)."""
        return torch.clamp_min(self._squares / self._count - self.shift**2, 1e-12)


def _squared_error(linear: nn.Linear, inputs: _Inputs, grid: Grid) -> Tensor:
    weight = linear.weight.detach()
    importance = grid.importances(inputs.variance.expand_as(weight))
    rounded = quantize(weight, grid, importance=importance, searched=True).dequantize()
    return (rounded - weight).square_().to(torch.bfloat16)


def _row_sums(gradient: Tensor, x: Tensor, error: Tensor) -> Tensor:
    """Return sums over texts and columns of (each text's weight gradient)^2 * error: (rows,)."""
    total = torch.zeros(len(error), device=error.device)
    texts = max(1, _CACHED // error.numel())
    for g, part in zip(torch.split(gradient, texts), torch.split(x, texts), strict=True):
        total += (torch.bmm(g.transpose(1, 2), part).square_() * error).sum((0, 2))
    return total


def _drawn(batch: Batch, output: Tensor, generator: torch.Generator, *, language_model: bool) -> Tensor:
    """Return a scalar whose gradient's mean square is the output's Fisher information."""
    rows = batch.rows(output.float())
    if language_model:
        likelihood = functional.log_softmax(rows, -1)
        drawn = torch.multinomial(likelihood.detach().exp().cpu(), 1, generator=generator)
        return likelihood.gather(1, drawn.to(rows.device)).sum()
    direction = functional.normalize(rows, dim=-1)
    return (direction * torch.randn(direction.shape, generator=generator).to(rows.device)).sum()


def _counted(batch: Batch, values: Tensor) -> Tensor:
    """Return (texts, length, width) with 0 for padding."""
    if batch.mask is None or values.shape[:2] != batch.mask.shape:
        return values
    return values * batch.mask.unsqueeze(-1)


@contextmanager
def _hooked(
    linears: Mapping[str, nn.Linear], watch: Callable[[str, Batch, Tensor, Tensor], None]
) -> Iterator[Callable[[nn.Module, Batch], Tensor]]:
    """Yield a function that runs a model on a batch and lets ``watch`` see each layer's input and output."""
    present: list[Batch] = []

    def hook(name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def see(_: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            # The first layers' outputs are where gradients begin: no parameter asks for any.
            if torch.is_grad_enabled() and not output.requires_grad:
                output = output.detach().requires_grad_()
            watch(name, present[-1], inputs[0].detach().float(), output)
            return output

        return see

    def run(model: nn.Module, batch: Batch) -> Tensor:
        present.append(batch)
        with fast_arithmetic(device_of(model)):
            output: Tensor = model(*batch.arguments)
        return output

    handles = [linear.register_forward_hook(hook(name)) for name, linear in linears.items()]
    try:
        yield run
    finally:
        for handle in handles:
            handle.remove()
