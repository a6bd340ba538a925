"""Train a quantized model to imitate its original: no labels, only texts.

Weights stay on their grid in every forward pass and move by the straight-through estimator (Bengio et al.,
2013); scales and zero points have the gradients of learned step sizes (Esser et al., 2020; LSQ+, Bhalgat et
al., 2020); norms and biases train along. The loss is the divergence of the output and the squared error of
each block's output, in units of the original's standard deviation.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from aios_db.engine.quantization.rounding import Quantized
from aios_db.engine.quantization.subject import (
    Batch,
    blocks_of,
    divergence,
    fast_arithmetic,
    is_language_model,
)

_WARM_UP = 30  # steps
_OUTPUT_WEIGHT = 2.0  # of the output's divergence against the mean of the blocks' errors


@dataclass(frozen=True)
class DistillationSettings:
    """How long and how fast to train."""

    steps: int = 1000
    learning_rate: float = 4e-4
    """Of weights, norms and biases; scales and zero points follow at their own magnitudes."""
    seed: int = 0


Progress = Callable[[int, float], None]
"""Called after each step with its number, from 1, and the output's divergence."""
Save = Callable[[dict[str, Any]], None]
"""Called now and then with the trainer's state."""


class _FakeQuantize(torch.autograd.Function):
    """Round to the grid; gradients pass to weights inside the grid's span."""

    @staticmethod
    def forward(
        context: Any, weight: Tensor, scale: Tensor, zero_point: Tensor, span: tuple[int, int]
    ) -> Tensor:
        low, high = span
        position = weight / scale + zero_point
        codes = position.round().clamp_(low, high)
        context.save_for_backward(position, codes, scale, zero_point)
        context.span = (low - 0.5, high + 0.5)
        return (codes - zero_point) * scale

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        position, codes, scale, zero_point = context.saved_tensors
        low, high = context.span
        inside = (position >= low) & (position <= high)
        passed = gradient * inside
        by_scale = (gradient * codes - passed * position).sum(-1, keepdim=True)
        clipped = (gradient - passed).sum(-1, keepdim=True)
        # Inside the span a zero point shifts grid and integers alike; outside, only the grid.
        return passed, by_scale - zero_point * clipped, -scale * clipped, None


class TrainableLinear(nn.Module):
    """A linear layer whose weight is rounded to its grid each time it is used."""

    def __init__(self, linear: nn.Linear, quantized: Quantized) -> None:
        super().__init__()
        self.grid, self.shape = quantized.grid, quantized.shape
        self.blocks = nn.Parameter(quantized.grid.blocks(quantized.dequantize()).clone())
        self.scale = nn.Parameter(quantized.scale.clone())
        self.zero_point = nn.Parameter(quantized.zero_point.clone(), requires_grad=not self.grid.symmetric)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, rows) for (…, columns)."""
        span = (self.grid.low, self.grid.high)
        blocks = _FakeQuantize.apply(self.blocks, self.scale, self.zero_point, span)  # type: ignore[no-untyped-call]
        return functional.linear(x, self.grid.unblock(blocks, self.shape), self.bias)

    def quantized(self) -> Quantized:
        """Return the weight as it stands on the grid."""
        with torch.no_grad():
            codes = (self.blocks / self.scale + self.zero_point).round().clamp(self.grid.low, self.grid.high)
            return Quantized(
                self.grid, self.shape, codes, self.scale.detach().clone(), self.zero_point.detach().clone()
            )


class Distillation:
    """Training of ``model`` against ``reference``.

    Parameters
    ----------
    model
        The quantized model, with rounded weights in its linear layers; changed by `run`.
    quantized
        Its quantized layers by name. Those of 2 bits are trained; the others keep their weights.
    """

    def __init__(
        self,
        reference: nn.Module,
        model: nn.Module,
        quantized: Mapping[str, Quantized],
        settings: DistillationSettings,
    ) -> None:
        self.reference, self.model, self.settings = reference, model, settings
        self.quantized = dict(quantized)
        self.step = 0
        self._language_model = is_language_model(model)
        self._trained: dict[str, TrainableLinear] = {}
        for name, layer in quantized.items():
            if layer.grid.bits == 2:
                linear = model.get_submodule(name)
                assert isinstance(linear, nn.Linear)
                self._trained[name] = TrainableLinear(linear, layer)
                _replace(model, name, self._trained[name])
        self._seen = (_Outputs(reference), _Outputs(model))
        self._optimizer = self._make_optimizer()
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]

    def run(
        self, batches: Sequence[Batch], progress: Progress, save: Save, *, every: int = 100
    ) -> dict[str, Quantized]:
        """Train for the steps that are left, then put rounded weights back; return all quantized layers."""
        deviations = self._deviations(batches[:4])
        order: list[int] = []
        for step in range(self.settings.steps):
            if not order:
                order = list(range(len(batches)))
                random.Random(self.settings.seed + step).shuffle(order)
            batch = batches[order.pop()]
            if step < self.step:
                continue  # taken before a resumption: only the order matters
            self._set_rate()
            shift = self._take_step(batch, deviations)
            self.step += 1
            progress(self.step, shift)
            if self.step % every == 0 and self.step < self.settings.steps:
                save(self.state())
        return self._finish()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to continue."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])

    def _take_step(self, batch: Batch, deviations: Sequence[Tensor]) -> float:
        # The fused kernel's backward pass is slower than plain products at the lengths of sentences.
        with fast_arithmetic(), sdpa_kernel(SDPBackend.MATH):
            with torch.no_grad():
                expected = self.reference(*batch.arguments)
            output = self.model(*batch.arguments)
        shift = divergence(batch, expected, output, language_model=self._language_model)
        errors = [
            (((batch.rows(a.float()) - batch.rows(b.float())) / deviation) ** 2).mean()
            for a, b, deviation in zip(*(seen.take() for seen in self._seen), deviations, strict=True)
        ]
        loss = _OUTPUT_WEIGHT * shift + torch.stack(errors).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return shift.item()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        rate = self.settings.learning_rate
        trained = self._trained.values()
        grids = {id(p) for layer in trained for p in (layer.blocks, layer.scale, layer.zero_point)}
        others = []
        for module in self.model.modules():
            for parameter in module.parameters(recurse=False):
                # Norms, biases and position tables; not the large weights that stay as they are.
                small = parameter.dim() == 1
                parameter.requires_grad_(small or id(parameter) in grids)
                if small:
                    others.append(parameter)
        for layer in trained:
            layer.zero_point.requires_grad_(not layer.grid.symmetric)
        groups = [
            {"params": [layer.blocks for layer in trained], "lr": rate},
            {"params": [layer.scale for layer in trained], "lr": 0.3 * rate},
            {"params": [layer.zero_point for layer in trained if not layer.grid.symmetric], "lr": 10 * rate},
            {"params": others, "lr": rate},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )

    def _set_rate(self) -> None:
        progress = self.step / self.settings.steps
        factor = min(1.0, (self.step + 1) / _WARM_UP) * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def _deviations(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Return each block's standard deviation of every output feature, at least .3 of the block's mean."""
        rows: list[list[Tensor]] = []
        for batch in batches:
            with torch.no_grad(), fast_arithmetic():
                self.reference(*batch.arguments)
            rows.append([batch.rows(output.float()) for output in self._seen[0].take()])
        deviations = [torch.cat(block).std(0) for block in zip(*rows, strict=True)]
        return [torch.maximum(deviation, 0.3 * deviation.mean()) for deviation in deviations]

    def _finish(self) -> dict[str, Quantized]:
        for seen in self._seen:
            seen.close()
        for name, layer in self._trained.items():
            self.quantized[name] = layer.quantized()
            rows, columns = layer.shape
            linear = nn.Linear(columns, rows, bias=layer.bias is not None)
            linear.weight.data = self.quantized[name].dequantize()
            if layer.bias is not None:
                linear.bias = layer.bias
            _replace(self.model, name, linear)
        self.model.requires_grad_(False)
        return self.quantized


class _Outputs:
    """The outputs of a model's blocks in its last forward pass."""

    def __init__(self, model: nn.Module) -> None:
        self._outputs: list[Tensor] = []
        self._hooks = [block.register_forward_hook(self._keep) for block in blocks_of(model)[1]]

    def _keep(self, _: nn.Module, __: Any, output: Any) -> None:
        self._outputs.append(output[0] if isinstance(output, tuple) else output)

    def take(self) -> list[Tensor]:
        """Return the outputs, first block first, and forget them."""
        taken, self._outputs = self._outputs, []
        return taken

    def close(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, module)
