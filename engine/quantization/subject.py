"""The model that is quantized and the inputs it is calibrated with, whatever its architecture."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.architectures.sizes import model_sizes
from aios_db.engine.backends.accelerator import half_precision
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

MAX_TOKENS = 128  # of a calibration text; longer ones are cut into several


@dataclass(frozen=True)
class Batch:
    """One call of the model."""

    arguments: tuple[Tensor, ...]
    mask: Tensor | None = None
    """(batch, length) bool, True where there is no padding; None when every position counts."""
    positions: int = 0
    """Tokens, patches or frames in it: what a share of the calibration is counted in."""

    def first(self, count: int) -> Batch:
        """Return the first ``count`` texts, sounds or pictures in it."""
        items = len(self.arguments[0])
        mask = None if self.mask is None else self.mask[:count]
        positions = self.positions * min(count, items) // max(1, items)
        return Batch(tuple(each[:count] for each in self.arguments), mask, positions)

    def to(self, device: torch.device) -> Batch:
        """Return it on ``device``."""
        arguments = tuple(each.to(device) for each in self.arguments)
        return Batch(arguments, None if self.mask is None else self.mask.to(device), self.positions)

    def shortened(self, positions: int) -> Batch:
        """Return the first texts, sounds or pictures in it: about ``positions`` of its positions."""
        items = len(self.arguments[0])
        count = max(1, items * positions // max(1, self.positions))
        return self if count >= items else self.first(count)

    def rows(self, hidden: Tensor) -> Tensor:
        """Return the counted positions of (batch, length, width) as (positions, width)."""
        if self.mask is None or hidden.shape[:2] != self.mask.shape:
            return hidden.reshape(-1, hidden.shape[-1])
        return hidden[self.mask]


def load_model(directory: ModelDirectory, file: WeightFile) -> nn.Module:
    """Return the module of a model directory with float32 weights, views of the file where it can be mapped.

    What is written into them stays in this process; they outlive the closing of ``file``.
    """
    architecture, config = model_sizes(directory, file)
    model = build_model(architecture, config)
    weights = {name: file.tensor(name).to(torch.float32) for name, _ in model.named_parameters()}
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(False)


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` that shares its tables: no matrix outside the blocks is changed."""
    inside = set(map(id, blocks_of(model)[1].parameters()))
    tables = {id(each): each for each in model.parameters() if each.dim() > 1 and id(each) not in inside}
    return copy.deepcopy(model, tables)


def blocks_of(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return the name and list of the model's repeated layers: its longest ``ModuleList``.

    Raises
    ------
    WeightsError
        There is none.
    """
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise WeightsError(f"{type(model).__name__} has no list of layers to quantize")
    return max(lists, key=lambda item: len(item[1]))


def block_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers inside the model's blocks, by full name and in order."""
    prefix, blocks = blocks_of(model)
    return {
        f"{prefix}.{name}": module for name, module in blocks.named_modules() if isinstance(module, nn.Linear)
    }


def divergence(batch: Batch, reference: Tensor, output: Tensor, *, language_model: bool) -> Tensor:
    """Return how far ``output`` is from ``reference``: a scalar, 0 when they are the same.

    1 - cosine of the vectors of an encoder; Kullback-Leibler divergence of a language model's distributions.
    """
    reference, output = batch.rows(reference.float()), batch.rows(output.float())
    if language_model:
        return functional.kl_div(
            functional.log_softmax(output, -1), functional.log_softmax(reference, -1), log_target=True,
            reduction="batchmean",
        )  # fmt: skip
    return 1 - functional.cosine_similarity(reference, output, dim=-1).mean()


def device_of(model: nn.Module) -> torch.device:
    """Return where ``model`` is."""
    return next(model.parameters()).device


def fast_type(device: torch.device) -> torch.dtype:
    """Return the type in which ``device`` multiplies fastest: bfloat16 where that is native, else float32.

    Not float16: gradients of it need to be scaled.
    """
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = half_precision(device) is torch.bfloat16
    return torch.bfloat16 if native else torch.float32


@contextmanager
def fast_arithmetic(device: torch.device) -> Iterator[None]:
    """Run matrix products in `fast_type`."""
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_type(device) is torch.bfloat16):
        yield


def make_batch(windows: Sequence[Sequence[int]], *, causal: bool) -> Batch:
    """Return token ids as one batch, padded at the end."""
    length = max(len(ids) for ids in windows)
    tokens = torch.zeros(len(windows), length, dtype=torch.long)
    mask = torch.zeros(len(windows), length, dtype=torch.bool)
    for row, ids in enumerate(windows):
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = True
    return Batch((tokens,) if causal else (tokens, mask.long()), mask, tokens.numel())
