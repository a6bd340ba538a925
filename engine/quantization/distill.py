"""Train a quantized model to imitate its original: no labels, only texts.

2-bit weights come to rest on their grid as the training cools (`trainable`); 8-bit weights move freely and
are rounded at the end, which hardly matters to them; norms and biases train along. The loss is the divergence
of the output and the squared error of each block's output, in units of the original's standard deviation. Of
an encoder the errors of the blocks, one a token, are the less noisy signal and lead; a language model has an
output for each token.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from aios_db.engine.quantization.rounding import Quantized, quantize
from aios_db.engine.quantization.subject import (
    Batch,
    blocks_of,
    device_of,
    divergence,
    fast_arithmetic,
    fast_type,
)
from aios_db.engine.quantization.trainable import GridLinear

_WARM_UP = 0.05  # of the steps
_DEVIATION_BATCHES = 4
# Of the output's divergence against the mean of the blocks' errors, less noisy ones than an encoder's output.
_ENCODER_OUTPUT_WEIGHT = 0.1
_LANGUAGE_MODEL_OUTPUT_WEIGHT = 4.0
# Of the original's outputs, so that it need not run again for the same texts: at most so much, and of what is
# free on a GPU this share.
_KEPT_BYTES, _KEPT_SHARE = 2 << 30, 0.25
_COLDEST, _COOLED = 0.003, 0.95  # the last temperature of roundings, and the share of the steps it takes
# Of learning rates to that of 2-bit weights, which move, at first, by up to a quarter of what logits do:
_LOGIT_RATIO = 4.0
_RATIO = 0.06  # norms, biases and scales
_ZERO_POINT_RATIO = 0.4
_LARGE_RATIO = 0.02  # 8-bit weights
# Noise moves a weight by the rate times the square root of the steps, so longer trainings go more slowly; but
# where the rate goes on falling, 10,000 steps of MiniLM are worse than 5,000.
_FULL_RATE_STEPS, _LEAST_RATE_STEPS = 800, 2000
# Weights that begin between their integer and the original's place lose what GPTQ had balanced; it takes some
# steps until that pays.
_TOWARDS_ORIGINAL, _FULL_WAY_STEPS = 0.5, 400


@dataclass(frozen=True)
class DistillationSettings:
    """How long and how fast to train."""

    steps: int = 1000
    learning_rate: float = 0.006
    """Of 2-bit weights, in steps of their grid, where they begin; all else follows in proportion.

    Longer trainings than of 800 steps take less, by the square root, those of 2,000 and more .63 of it.
    """
    moving: bool = True
    """Let weights move; otherwise only scales, zero points, norms and biases do."""
    seed: int = 0
    """Order of the batches."""

    @property
    def rate(self) -> float:
        """The learning rate after the warm-up."""
        steps = min(max(self.steps, _FULL_RATE_STEPS), _LEAST_RATE_STEPS)
        return self.learning_rate * math.sqrt(_FULL_RATE_STEPS / steps)

    @property
    def towards_original(self) -> float:
        """Share of the way from its integer to the original's place at which a 2-bit weight begins."""
        return _TOWARDS_ORIGINAL * min(1.0, self.steps / _FULL_WAY_STEPS)


Stepped = Callable[[int, float], None]
"""Called after each step with its number, from 1, and the output's divergence."""
Save = Callable[[dict[str, Any]], None]
"""Called now and then with the trainer's state."""


class Distillation:
    """Training of ``model`` against ``reference``.

    Parameters
    ----------
    model
        The quantized model, with rounded weights in its linear layers; changed by `run`.
    quantized
        Its quantized layers by name.
    language_model
        Whether the model scores tokens instead of embedding its input.
    """

    def __init__(
        self,
        reference: nn.Module,
        model: nn.Module,
        quantized: Mapping[str, Quantized],
        settings: DistillationSettings,
        *,
        language_model: bool,
    ) -> None:
        self.reference, self.model, self.settings = reference, model, settings
        self.quantized = dict(quantized)
        self.step = 0
        self._device = device_of(model)
        self._language_model = language_model
        self._on_grid: dict[str, GridLinear] = {}
        for name, layer in self.quantized.items():
            if layer.grid.bits == 2:
                linear = model.get_submodule(name)
                assert isinstance(linear, nn.Linear)
                on_grid = GridLinear(linear, layer.to(self._device), dtype=fast_type(self._device))
                if settings.moving:
                    original = reference.get_parameter(f"{name}.weight")
                    on_grid.loosen(original, settings.towards_original)
                self._on_grid[name] = on_grid
                _replace(model, name, on_grid)
        self._teacher = _Teacher(reference)
        self._seen = _Outputs(model)
        self._optimizer = self._make_optimizer()
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]

    def run(
        self, batches: Sequence[Batch], stepped: Stepped, save: Save, *, every: int = 100
    ) -> dict[str, Quantized]:
        """Train for the steps that are left, then put rounded weights back; return all quantized layers.

        Parameters
        ----------
        batches
            Taken in another random order each time all have been seen.
        stepped, save
            See `Stepped` and `Save`; the latter is called after ``every`` steps.
        """
        if self.settings.steps <= len(batches):
            self._teacher.room = 0  # no batch comes twice
        deviations = self._deviations(batches)
        while self.step < self.settings.steps:
            self._set_pace()
            epoch, position = divmod(self.step, len(batches))
            number = _order(len(batches), self.settings.seed + epoch)[position]
            shift = self._take_step(number, batches[number].to(self._device), deviations)
            self.step += 1
            stepped(self.step, shift)
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

    def _take_step(self, number: int, batch: Batch, deviations: Sequence[Tensor]) -> float:
        # The fused kernel's backward pass is slower than plain products at the lengths of sentences.
        with fast_arithmetic(self._device), sdpa_kernel(SDPBackend.MATH):
            expected, expected_blocks = self._teacher(number, batch)
            output = self.model(*batch.arguments)
        shift = divergence(batch, expected, output, language_model=self._language_model)
        errors = [
            (((batch.rows(a.float()) - batch.rows(b.float())) / deviation) ** 2).mean()
            for a, b, deviation in zip(expected_blocks, self._seen.take(), deviations, strict=True)
        ]
        weight = _LANGUAGE_MODEL_OUTPUT_WEIGHT if self._language_model else _ENCODER_OUTPUT_WEIGHT
        loss = weight * shift + torch.stack(errors).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return shift.item()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        rate, moving = self.settings.rate, self.settings.moving
        grids = list(self._on_grid.values())
        large_names = {f"{name}.weight" for name in self.quantized}
        small: list[nn.Parameter] = []
        large: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            owner, _, leaf = name.rpartition(".")
            if owner in self._on_grid and leaf != "bias":
                continue
            # Norms and biases, and weights of 8 bits; not the tables.
            parameter.requires_grad_(parameter.dim() == 1 or (moving and name in large_names))
            if parameter.requires_grad:
                (small if parameter.dim() == 1 else large).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": [each.logits for each in grids if each.logits is not None], "lr": _LOGIT_RATIO * rate},
            {
                "params": [each.zero_point for each in grids if not each.grid.symmetric],
                "lr": _ZERO_POINT_RATIO * rate,
            },
            {"params": [*small, *(layer.stretch for layer in grids)], "lr": _RATIO * rate},
            {"params": large, "lr": _LARGE_RATIO * rate},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], betas=(0.95, 0.99), weight_decay=0.0, fused=True
        )

    def _set_pace(self) -> None:
        progress = self.step / self.settings.steps
        warm = min(1.0, (self.step + 1) / (_WARM_UP * self.settings.steps))
        factor = warm * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        for layer in self._on_grid.values():
            layer.temperature = _COLDEST ** min(1.0, progress / _COOLED)

    def _deviations(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Return each block's standard deviation of every output feature, at least .3 of the block's mean."""
        rows: list[list[Tensor]] = []
        for number in range(min(_DEVIATION_BATCHES, len(batches))):
            batch = batches[number].to(self._device)
            with fast_arithmetic(self._device):
                _, blocks = self._teacher(number, batch)
            rows.append([batch.rows(output.float()) for output in blocks])
        deviations = [torch.cat(block).std(0) for block in zip(*rows, strict=True)]
        return [torch.maximum(deviation, 0.3 * deviation.mean()) for deviation in deviations]

    def _finish(self) -> dict[str, Quantized]:
        self._teacher.close()
        self._seen.close()
        self.model.requires_grad_(False)
        for name, layer in self._on_grid.items():
            self.quantized[name] = layer.quantized()
            rows, columns = layer.shape
            linear = nn.Linear(columns, rows, bias=False, device="meta")
            linear.weight = nn.Parameter(self.quantized[name].dequantize())
            linear.bias = layer.bias
            _replace(self.model, name, linear.requires_grad_(False))
        for name in self.quantized.keys() - self._on_grid.keys() if self.settings.moving else ():
            weight = self.model.get_parameter(f"{name}.weight")
            self.quantized[name] = quantize(weight, self.quantized[name].grid)
            weight.data = self.quantized[name].dequantize()
        return self.quantized


class _Teacher:
    """The reference's outputs, kept for the next time as long as there is room."""

    def __init__(self, reference: nn.Module) -> None:
        self._reference, self._seen = reference, _Outputs(reference)
        self._known: dict[int, tuple[Tensor, list[Tensor]]] = {}
        self.room = _KEPT_BYTES
        if (device := device_of(reference)).type == "cuda":
            self.room = min(self.room, int(_KEPT_SHARE * torch.cuda.mem_get_info(device)[0]))

    @torch.no_grad()
    def __call__(self, number: int, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the output and the blocks' outputs for batch ``number``."""
        if number in self._known:
            return self._known[number]
        output = self._reference(*batch.arguments)
        result = output, [block.to(fast_type(output.device)) for block in self._seen.take()]
        size = sum(tensor.nbytes for tensor in (output, *result[1]))
        if size <= self.room:
            self.room -= size
            self._known[number] = result
        return result

    def close(self) -> None:
        """Forget the outputs and remove the hooks."""
        self._known.clear()
        self._seen.close()


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


@lru_cache(1)
def _order(count: int, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, module)
