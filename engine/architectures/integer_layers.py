"""Layers that compute from the integers of a V2 file, whose weights stay mapped and never become float32.

8-bit linear layers multiply in 8 bits: each input row is rounded to its own scale (dynamic quantization by
token, as in ZeroQuant, Yao et al., 2022), the products add up in 32 bits. 2-bit layers, whose accuracy has
none to spare, unpack their integers for the duration of one call and multiply them in bfloat16, which holds
them exactly (rows of 8 bits to half a step).
"""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.weights.int2 import packed_size, planes_of
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.quantized import expand_parameters
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.schema.amounts import amount

log = logging.getLogger("aios_db.engine.quantization")


def use_integers(model: nn.Module, file: WeightFile, *, vocabulary: int | None = None) -> int:
    """Replace the layers of ``model`` whose weights ``file`` holds as integers; return how many.

    Parameters
    ----------
    model
        As `build_model` returns it, its parameters on the meta device.
    vocabulary
        Rows of the token table, the one embedding that is looked up and not read as a whole.
    """
    replaced = 0
    all_8_bits = True
    for name, module in list(model.named_modules()):
        info = file.layers.get(f"{name}.weight")
        if info is None or not info.is_quantized:
            continue
        if isinstance(module, nn.Embedding):
            # A table in 2 bits, which other writers may have made, is expanded as it loads.
            if module.num_embeddings != vocabulary or info.quant_type != "int8":
                continue
            _replace(model, name, IntegerEmbedding(module, info))
        elif isinstance(module, nn.Linear):
            all_8_bits = all_8_bits and info.quant_type == "int8"
            replaced += 1
    multiply_integers = all_8_bits and _int8_is_fast()
    for name, module in list(model.named_modules()):
        info = file.layers.get(f"{name}.weight")
        if info is not None and info.is_quantized and isinstance(module, nn.Linear):
            _replace(model, name, IntegerLinear(module, info, multiply_integers=multiply_integers))
    if replaced:
        how = "multiplied as integers" if multiply_integers else "unpacked one layer at a time"
        log.info("%s: %s, %s", file.path, amount(replaced, "quantized layer"), how)
    return replaced


class IntegerLinear(nn.Module):
    """A linear layer over int8 or packed int2 weights.

    Parameters
    ----------
    multiply_integers
        Round the inputs to 8 bits and multiply integers, where the weights' scales allow it.
    """

    def __init__(self, linear: nn.Linear, info: LayerInfo, *, multiply_integers: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight, requires_grad=False)
        self.bias = linear.bias
        self.rows, self.columns = info.shape
        self._info = info
        self._integers = multiply_integers and info.quant_type == "int8"
        self._in_groups = False
        self._planes: tuple[tuple[Tensor, slice], ...] = ()
        self._scale = self._zero_point = torch.empty(0)
        self._sums: Tensor | None = None  # of each row, known after the first call

    def take_stored(self, layer: StoredTensor) -> Tensor:
        """Keep a layer's scales; return its integers as `weight` holds them: (rows, columns) or packed."""
        self._scale = self._expanded(layer.scales)
        self._zero_point = self._expanded(layer.zero_points)
        raw = _bytes(layer.data)
        if layer.info.quant_type == "int8":
            return raw.view(torch.int8).view(self.rows, self.columns)
        self._planes = tuple(
            (torch.from_numpy(plane.rows), plane.part)
            for plane in planes_of(raw.numpy(), self.rows, self.columns)
        )
        return raw

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, rows) in the type of ``x`` for (…, columns)."""
        flat = x.reshape(-1, self.columns)
        if self._in_groups or self._scale.shape[-1] > 1:
            out = self._multiply_dequantized(flat)
        elif self._integers:
            out = self._multiply_integers(x)
        else:
            out = self._multiply_unpacked(flat)
        if self.bias is not None:
            out += self.bias
        return out.to(x.dtype).view(*x.shape[:-1], self.rows)

    def _multiply_integers(self, x: Tensor) -> Tensor:
        codes, step = _rounded_rows(x)
        out = torch._int_mm(codes, self.weight.t()).to(torch.float32)
        if self._zero_point.numel():
            out -= codes.sum(1, keepdim=True, dtype=torch.int32) * self._zero_point.view(1, -1)
        return out.mul_(step).mul_(self._scale.view(1, -1))

    def _multiply_unpacked(self, x: Tensor) -> Tensor:
        dtype = _unpacked_type()
        codes = self._codes(dtype)
        if not self._zero_point.numel():
            return functional.linear(x.to(dtype), codes).to(torch.float32).mul_(self._scale.view(1, -1))
        # Products of integers that are all a zero point too high are large and, in bfloat16, coarse; those of
        # inputs around 0 are not. What is left of their mean, and the mean itself, is added in float32.
        mean = x.mean(1, keepdim=True, dtype=torch.float32)
        x = (x - mean).to(dtype)
        out = functional.linear(x, codes).to(torch.float32)
        out -= x.sum(1, keepdim=True, dtype=torch.float32) * self._zero_point.view(1, -1)
        if self._sums is None:
            self._sums = codes.sum(1, dtype=torch.float32) - self.columns * self._zero_point.view(-1)
        out.addcmul_(mean, self._sums.view(1, -1))
        return out.mul_(self._scale.view(1, -1))

    def _multiply_dequantized(self, x: Tensor) -> Tensor:
        weight = self._codes(torch.float32)
        if self._in_groups:
            weight = weight.view(-1, self._info.group_size)
        if self._zero_point.numel():
            weight = weight - self._zero_point
        weight = (weight * self._scale).view(self.rows, self.columns)
        # bfloat16 is finer than 2 bits by far.
        dtype = _unpacked_type() if self._info.quant_type == "int2" else x.dtype
        return functional.linear(x.to(dtype), weight.to(dtype)).to(x.dtype)

    def _codes(self, dtype: torch.dtype) -> Tensor:
        if self._info.quant_type == "int8":
            return self.weight.to(dtype)
        coarse = self.weight[: packed_size(self.rows * self.columns)]
        codes = _unpacked(coarse, 0, self.rows, self.columns)
        for number, (rows, part) in enumerate(self._planes, 1):
            codes.index_add_(0, rows, _unpacked(self.weight[part], number, len(rows), self.columns))
        return codes.to(dtype)

    def _expanded(self, buffer: Any) -> Tensor:
        """Return scales or zero points as (rows or 1, 1), or by group.

        Then they are (groups, 1), or (rows, columns) where the groups do not fill the rows.
        """
        values = np.frombuffer(buffer if buffer is not None else b"", dtype=np.float32)
        if not values.size:
            return torch.empty(0)
        info = self._info
        if info.group_size < self.columns and values.size * info.group_size == self.rows * self.columns:
            self._in_groups = True
            return torch.from_numpy(values.reshape(-1, 1).copy())
        wide = expand_parameters(values, info.shape, info.group_size, info.quant_axis)
        return torch.from_numpy(np.array(wide))


class IntegerEmbedding(nn.Module):
    """A table of int8 rows of which the ones looked up become float32."""

    def __init__(self, embedding: nn.Embedding, info: LayerInfo) -> None:
        super().__init__()
        self.weight = nn.Parameter(embedding.weight, requires_grad=False)
        self._info = info
        self._scale = self._zero_point = torch.empty(0)

    def take_stored(self, layer: StoredTensor) -> Tensor:
        """Keep the table's scales; return its integers, (rows, width)."""
        info = self._info
        for name, buffer in (("_scale", layer.scales), ("_zero_point", layer.zero_points)):
            values = np.frombuffer(buffer if buffer is not None else b"", dtype=np.float32)
            wide = (
                expand_parameters(values, info.shape, info.group_size, info.quant_axis)
                if values.size
                else values
            )
            setattr(self, name, torch.from_numpy(np.array(wide)))
        return _bytes(layer.data).view(torch.int8).view(info.shape)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (…, width) float32 for (…) token ids."""
        values = self.weight[tokens].to(torch.float32)
        if self._zero_point.numel():
            values -= self._chosen(self._zero_point, tokens)
        return values * self._chosen(self._scale, tokens)

    def _chosen(self, parameters: Tensor, tokens: Tensor) -> Tensor:
        return parameters if parameters.shape[0] == 1 else parameters[tokens]


_last = threading.local()


def _rounded_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the integers (rows, columns) and steps (rows, 1) of an input; remembered for the next call.

    Query, key and value projections have one input, which is then rounded once.
    """
    if getattr(_last, "input", None) is not x:
        rows = x.reshape(-1, x.shape[-1]).to(torch.float32)
        # Two passes that are vectorised; torch's aminmax and infinity norm over rows are not.
        step = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True))
        step.clamp_min_(1e-30).div_(127)
        _last.rounded = ((rows / step).round_().to(torch.int8), step)
        _last.input = x
    rounded: tuple[Tensor, Tensor] = _last.rounded
    return rounded


@lru_cache
def _unpacking_table(plane: int) -> Tensor:
    """Return what the values of each byte add to q, in bfloat16, which holds them exactly.

    Four 2-bit values a byte, or, of a plane, eight bits. The table is of 256 words that hold all of a byte's
    values: to look up words is three times as fast as to look up rows of values.
    """
    byte = torch.arange(256).view(-1, 1)
    if plane == 0:
        values = torch.bitwise_right_shift(byte, torch.tensor([6, 4, 2, 0])) % 4 - 2.0
        return values.to(torch.bfloat16).view(torch.int64).view(-1)
    bits = torch.bitwise_right_shift(byte, torch.arange(7, -1, -1)) % 2 - 0.5
    return (bits * 0.5**plane).to(torch.bfloat16).view(torch.complex128).view(-1)


def _unpacked(packed: Tensor, plane: int, rows: int, columns: int) -> Tensor:
    words = _unpacking_table(plane).index_select(0, packed.to(torch.int32))
    return words.view(torch.bfloat16)[: rows * columns].view(rows, columns)


def _unpacked_type() -> torch.dtype:
    return torch.bfloat16 if cpu_features().has_bf16 else torch.float32


def _int8_is_fast() -> bool:
    if cpu_features().has_int8:
        return True
    log.warning("this CPU has no fast 8-bit products: weights are unpacked and multiplied as floats")
    return False


def _bytes(buffer: Any) -> Tensor:
    from aios_db.engine.weights.layer import tensor_view

    return tensor_view(buffer, "uint8", (buffer.size,))


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, module)
