"""What flows into the linear layers of a model and of its quantized copy, one block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from aios_db.engine.quantization.subject import Batch, blocks_of, device_of, fast_arithmetic

_PANEL = 1024  # columns of a Hessian's upper triangle that are summed at a time


class _Reached(Exception):
    pass


@dataclass
class Means:
    """What rounding asks about a linear layer's inputs.

    The reference's input x and the quantized model's input y, d wide, for the same tokens.
    """

    reference_mean: Tensor
    """Mean of x, (d,)."""
    mean: Tensor
    """Mean of y, (d,)."""
    square: Tensor
    """Mean of y^2, (d,)."""


@dataclass
class Moments(Means):
    """What GPTQ asks about them."""

    hessian: Tensor
    """Mean of y y^T, (d, d)."""
    cross: Tensor
    """Mean of x y^T, (d, d); the very ``hessian`` when the two models are one."""

    def centred(self) -> Moments:
        """Return the covariances: what is left to fit once a bias takes the means."""
        hessian = self.hessian - torch.outer(self.mean, self.mean)
        cross = hessian
        if self.cross is not self.hessian:
            cross = self.cross - torch.outer(self.reference_mean, self.mean)
        return replace(self, hessian=hessian, cross=cross)


@dataclass
class _Call:
    """A block's input in one batch: the hidden states and whatever else it is called with."""

    hidden: Tensor
    others: tuple[Any, ...]
    named: dict[str, Any]


class BlockWalk:
    """Two copies of a model walked through block by block, with the inputs of each block kept.

    ``reference`` and ``model`` may be one: then nothing is run or kept twice.

    Call `stages`, quantize the layers of each stage in ``model``, then `advance`.
    """

    def __init__(self, reference: nn.Module, model: nn.Module, batches: Sequence[Batch]) -> None:
        self.batches = batches
        self.prefix, self._reference = blocks_of(reference)
        _, self._blocks = blocks_of(model)
        self.index = 0
        self._reference_calls = [_first_call(reference, self._reference[0], batch) for batch in batches]
        self._calls = (
            self._reference_calls
            if model is reference
            else [_first_call(model, self._blocks[0], batch) for batch in batches]
        )

    def __len__(self) -> int:
        return len(self._blocks)

    def stages(self) -> list[list[str]]:
        """Return this block's linear layers by full name in order of use, those with one input together."""
        used: list[tuple[str, Tensor]] = []
        hooks = [
            module.register_forward_pre_hook(lambda _, inputs, name=name: used.append((name, inputs[0])))
            for name, module in self._reference[self.index].named_modules()
            if isinstance(module, nn.Linear)
        ]
        try:
            _run(self._reference[self.index], self._reference_calls[0])
        finally:
            for hook in hooks:
                hook.remove()
        stages: list[list[str]] = []
        previous: Tensor | None = None
        for name, inputs in used:
            full = f"{self.prefix}.{self.index}.{name}"
            if previous is inputs:
                stages[-1].append(full)
            else:
                stages.append([full])
            previous = inputs
        return stages

    def means(self, stage: Sequence[str]) -> Means:
        """Return the means of the input that the layers of ``stage`` share."""
        totals = _MeansTotal(self._zeros(stage))
        for x, y in self._inputs(stage):
            totals.add(x, y)
        return totals.means()

    def moments(self, stage: Sequence[str]) -> Moments:
        """Return the moments of the input that the layers of ``stage`` share."""
        zeros = self._zeros(stage)
        totals, hessian = _MeansTotal(zeros), zeros.new_zeros(len(zeros), len(zeros))
        cross = None if self._one_model else torch.zeros_like(hessian)
        for x, y in self._inputs(stage):
            totals.add(x, y)
            _add_square(hessian, y)
            if cross is not None:
                cross.addmm_(x.T, y)
        hessian = (hessian.triu() + hessian.triu(1).T).div_(totals.count)
        cross = hessian if cross is None else cross.div_(totals.count)
        means = totals.means()
        return Moments(means.reference_mean, means.mean, means.square, hessian, cross)

    def advance(self) -> None:
        """Run both copies of this block and go to the next."""
        for block, calls in self._sides():
            for call in calls:
                call.hidden = _run(block[self.index], call)
        self.index += 1

    @property
    def _one_model(self) -> bool:
        return self._calls is self._reference_calls

    def _sides(self) -> Iterator[tuple[nn.ModuleList, list[_Call]]]:
        yield self._reference, self._reference_calls
        if not self._one_model:
            yield self._blocks, self._calls

    def _zeros(self, stage: Sequence[str]) -> Tensor:
        """Return a 0 for each of the inputs that the layers of ``stage`` share."""
        name = stage[0].removeprefix(f"{self.prefix}.{self.index}.")
        linear = self._reference[self.index].get_submodule(name)
        assert isinstance(linear, nn.Linear)
        return linear.weight.new_zeros(linear.in_features)

    def _inputs(self, stage: Sequence[str]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, batch by batch, what both models give the layers of ``stage``, (positions, width)."""
        inner = stage[0].removeprefix(f"{self.prefix}.{self.index}.")
        for number, batch in enumerate(self.batches):
            x, *others = (
                batch.rows(_input_of(block[self.index], inner, calls[number]))
                for block, calls in self._sides()
            )
            yield x, others[0] if others else x


class _MeansTotal:
    """`Means` in the making."""

    def __init__(self, zeros: Tensor) -> None:
        self.count = 0
        self._sums = [zeros.clone() for _ in range(3)]

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take in the inputs of a batch, (positions, width)."""
        for total, values in zip(self._sums, (x, y, y.square()), strict=True):
            total.add_(values.sum(0))
        self.count += len(x)

    def means(self) -> Means:
        """Return the means so far."""
        return Means(*(total / self.count for total in self._sums))


def _add_square(total: Tensor, rows: Tensor) -> None:
    """Add ``rows^T rows`` to the upper triangle of ``total``; what lies below it is undefined."""
    for start in range(0, len(total), _PANEL):
        end = start + _PANEL
        total[:end, start:end].addmm_(rows[:, :end].T, rows[:, start:end])


def _first_call(model: nn.Module, block: nn.Module, batch: Batch) -> _Call:
    seen: list[_Call] = []

    def stop(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(_Call(inputs[0].detach(), inputs[1:], named))
        raise _Reached

    hook = block.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with torch.no_grad():
            model(*batch.arguments)
    except _Reached:
        pass
    finally:
        hook.remove()
    return seen[0]


def _run(block: nn.Module, call: _Call) -> Tensor:
    with torch.no_grad(), fast_arithmetic(device_of(block)):
        output = block(call.hidden, *call.others, **call.named)
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden.float()


def _input_of(block: nn.Module, inner: str, call: _Call) -> Tensor:
    seen: list[Tensor] = []

    def stop(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].detach().float())
        raise _Reached

    hook = block.get_submodule(inner).register_forward_pre_hook(stop)
    try:
        _run(block, call)
    except _Reached:
        pass
    finally:
        hook.remove()
    return seen[0]
