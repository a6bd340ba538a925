"""What flows into the linear layers of a model and of its quantized copy, one block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aios_db.engine.quantization.subject import Batch, blocks_of, fast_arithmetic


class _Reached(Exception):
    pass


@dataclass
class Moments:
    """First and second moments of a linear layer's inputs.

    The reference's input x and the quantized model's input y, d wide, for the same tokens.
    """

    hessian: Tensor
    """Mean of y y^T, (d, d)."""
    cross: Tensor
    """Mean of x y^T, (d, d)."""
    reference_mean: Tensor
    """Mean of x, (d,)."""
    mean: Tensor
    """Mean of y, (d,)."""

    def centred(self) -> Moments:
        """Return the covariances: what is left to fit once a bias takes the means."""
        return Moments(
            self.hessian - torch.outer(self.mean, self.mean),
            self.cross - torch.outer(self.reference_mean, self.mean),
            self.reference_mean,
            self.mean,
        )


@dataclass
class _Call:
    """A block's input in one batch: the hidden states and whatever else it is called with."""

    hidden: Tensor
    others: tuple[Any, ...]
    named: dict[str, Any]


class BlockWalk:
    """Two copies of a model walked through block by block, with the inputs of each block kept.

    Call `stages`, quantize the layers of each stage in ``model``, then `advance`.
    """

    def __init__(self, reference: nn.Module, model: nn.Module, batches: Sequence[Batch]) -> None:
        self.batches = batches
        self.prefix, self._reference = blocks_of(reference)
        _, self._blocks = blocks_of(model)
        self.index = 0
        self._reference_calls = [_first_call(reference, self._reference[0], batch) for batch in batches]
        self._calls = [_first_call(model, self._blocks[0], batch) for batch in batches]

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

    def moments(self, stage: Sequence[str]) -> Moments:
        """Return the moments of the input that the layers of ``stage`` share."""
        inner = stage[0].removeprefix(f"{self.prefix}.{self.index}.")
        totals: list[Tensor] = []
        count = 0
        for batch, reference_call, call in zip(self.batches, self._reference_calls, self._calls, strict=True):
            x = batch.rows(_input_of(self._reference[self.index], inner, reference_call))
            y = batch.rows(_input_of(self._blocks[self.index], inner, call))
            if not totals:
                width = x.shape[1]
                totals = [
                    torch.zeros(width, width),
                    torch.zeros(width, width),
                    torch.zeros(width),
                    torch.zeros(width),
                ]
            totals[0].addmm_(y.T, y)
            totals[1].addmm_(x.T, y)
            totals[2] += x.sum(0)
            totals[3] += y.sum(0)
            count += len(x)
        return Moments(*(total / count for total in totals))

    def advance(self) -> None:
        """Run both copies of this block and go to the next."""
        for block, calls in ((self._reference, self._reference_calls), (self._blocks, self._calls)):
            for call in calls:
                call.hidden = _run(block[self.index], call)
        self.index += 1


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
    with torch.no_grad(), fast_arithmetic():
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
