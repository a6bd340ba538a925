"""Number grids of 2 and 8 bits, their scales and zero points, and rounding to them.

``x = (q - zero_point) * scale`` with real zero points, as in V2 weight files. A weight is treated as a matrix
of ``(rows, columns)``, whose rows are output channels; inside it is cut into blocks ``(rows, groups, group)``
that share one scale and zero point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from aios_db.engine.weights.int2 import MAX_PLANES, pack_int2, pack_refined, refined_size
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.quantized import matrix_shape
from aios_db.engine.weights.stored import StoredTensor
from aios_db.schema.errors import ProgrammingError

_CACHED = 1 << 18  # weights whose scales are searched at a time, so that they stay in the processor's cache
_TINY = 1e-8  # least scale: a block of equal values still has a step
PER_TENSOR, PER_CHANNEL = -1, 0  # group sizes


@dataclass(frozen=True)
class Grid:
    """A number format: its bits, and which weights share a scale and zero point."""

    bits: int
    """2 or 8."""
    group_size: int = PER_CHANNEL
    """Consecutive weights of a row in a group; 0 is a whole row, -1 the whole tensor."""
    symmetric: bool = False
    """Whether zero points are all 0 and not stored."""
    planes: tuple[int, ...] = ()
    """How many more bits each row of a 2-bit tensor has, 0 to 6; empty: none has any."""

    def __post_init__(self) -> None:
        if self.bits not in (2, 8):
            raise ProgrammingError(f"V2 files hold integers of 2 or 8 bits, not {self.bits}")
        if self.group_size < PER_TENSOR:
            raise ProgrammingError(f"group_size is {self.group_size}: take a positive one, 0 or -1")
        if self.planes and (self.bits != 2 or self.group_size == PER_TENSOR):
            raise ProgrammingError("only rows of 2 bits with scales of their own can have planes")
        if not all(0 <= count <= MAX_PLANES for count in self.planes):
            raise ProgrammingError(f"a row has 0 to {MAX_PLANES} planes, not {self.planes}")

    def of_rows(self, rows: slice) -> Grid:
        """Return the grid of some of a tensor's rows."""
        return replace(self, planes=self.planes[rows])

    def span(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest integer: (rows, 1, 1), or (1, 1, 1) when all rows are alike."""
        if self.bits == 8:
            least, greatest = torch.tensor([-127.0 if self.symmetric else -128.0, 127.0], device=device)
            return least.view(1, 1, 1), greatest.view(1, 1, 1)
        steps = self.steps().to(device)
        return -2 * steps, 2 * steps - 1

    def steps(self) -> Tensor:
        """Return into how many steps planes divide a step of each row: (rows, 1, 1) or (1, 1, 1)."""
        return torch.tensor(self.planes or (0,), dtype=torch.float32).view(-1, 1, 1).exp2()

    @property
    def quant_type(self) -> str:
        """The name in V2 files."""
        return f"int{self.bits}"

    def blocks(self, weight: Tensor) -> Tensor:
        """Return ``weight`` as (rows, groups, group); a short last group is filled up with its last value."""
        return self._blocks(weight, "replicate")

    def importances(self, importance: Tensor) -> Tensor:
        """Return what `blocks` does, but with 0 for what a short last group is filled up with."""
        return self._blocks(importance, "constant")

    def _blocks(self, weight: Tensor, filling: str) -> Tensor:
        rows, columns = matrix_shape(tuple(weight.shape))
        if self.group_size == PER_TENSOR:
            return weight.reshape(1, 1, -1)
        group = min(self.group_size or columns, columns)
        matrix = weight.reshape(rows, 1, columns)
        if columns % group:
            matrix = functional.pad(matrix, (0, group - columns % group), mode=filling)
        return matrix.reshape(rows, -1, group)

    def unblock(self, blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undo `blocks` for a tensor of ``shape``."""
        if self.group_size == PER_TENSOR:
            return blocks.reshape(shape)
        rows, columns = matrix_shape(shape)
        return blocks.reshape(rows, -1)[:, :columns].reshape(shape)

    def stored_bits(self, shape: tuple[int, ...]) -> int:
        """Return how many bits a tensor of ``shape`` takes, its float32 scales and zero points included."""
        rows, columns = matrix_shape(shape)
        group = columns if self.group_size <= 0 else self.group_size
        count = 1 if self.group_size == PER_TENSOR else rows * -(-columns // group)
        size = -(-rows * columns * self.bits // 8)
        if self.planes:
            size += refined_size(self.planes, columns)
        return 8 * size + 32 * count * (1 if self.symmetric and not self.planes else 2)


@dataclass
class Quantized:
    """A quantized tensor: integers and the grid they stand on.

    Attributes
    ----------
    codes : Tensor
        The integers q as float32, or int8 where they are kept, in blocks (rows, groups, group).
    scale, zero_point : Tensor
        (rows, groups, 1), float32.
    """

    grid: Grid
    shape: tuple[int, ...]
    codes: Tensor
    scale: Tensor
    zero_point: Tensor

    def dequantize(self) -> Tensor:
        """Return float32 of ``shape``."""
        return self.grid.unblock((self.codes - self.zero_point) * self.scale, self.shape)

    def to(self, device: torch.device) -> Quantized:
        """Return it on ``device``."""
        moved = (each.to(device) for each in (self.codes, self.scale, self.zero_point))
        return Quantized(self.grid, self.shape, *moved)

    @property
    def bits(self) -> int:
        """Bits in a file, scales and zero points included."""
        return self.grid.stored_bits(self.shape)

    def to_layer(self, name: str, dtype: str = "torch.float32") -> StoredTensor:
        """Return the row of a V2 file; ``dtype`` is that of the tensor before quantization."""
        codes = self.grid.unblock(self.codes, self.shape)
        scale, zero_point = self.scale, None if self.grid.symmetric else self.zero_point
        if self.grid.planes:
            # Of the 2-bit grid, whose values are the middles of what the planes tell apart.
            steps = self.grid.steps()
            scale, zero_point = scale * steps, (self.zero_point - (steps - 1) / 2) / steps
            data = pack_refined(codes.to(torch.int16).reshape(len(codes), -1).numpy(), self.grid.planes)
        elif self.grid.bits == 2:
            data = pack_int2(codes.to(torch.int8).numpy())
        else:
            data = codes.to(torch.int8).numpy()
        grouped = self.grid.group_size > 0
        info = LayerInfo(
            name,
            self.shape,
            dtype,
            math.prod(self.shape),
            quant_type=self.grid.quant_type,
            quant_axis=-1 if self.grid.group_size == PER_TENSOR else len(self.shape) - 1 if grouped else 0,
            group_size=self.grid.group_size if grouped else 0,
        )
        return StoredTensor(info, data, _stored(scale), None if zero_point is None else _stored(zero_point))


def cover(blocks: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return the scale and zero point, (rows, groups, 1), whose grid spans all values of each block.

    Every value is then at most half a step from the grid.
    """
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    least, greatest = grid.span(blocks.device)
    if grid.symmetric:
        scale = torch.maximum(low / least, high / greatest).clamp_min(_TINY)
        return scale, torch.zeros_like(scale)
    # A block whose values hardly differ keeps a step that float32 can tell from the values themselves.
    magnitude = torch.maximum(low.abs(), high.abs())
    scale = torch.maximum((high - low) / (greatest - least), magnitude * 1e-6).clamp_min(_TINY)
    return scale, (least + greatest) / 2 - (low + high) / 2 / scale


def search(blocks: Tensor, grid: Grid, importance: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the scale and zero point with the least squared error of rounding, block by block.

    Ranges from the whole span down to a quarter are tried, each refined by alternating between rounding and
    the least-squares fit of scale and zero point to the integers.

    Parameters
    ----------
    blocks
        (rows, groups, group) weights.
    importance
        Weight of each input's error, broadcast against ``blocks``; for example the diagonal of the Hessian.
    """
    if importance is None:
        importance = torch.ones_like(blocks)
    rows = max(1, _CACHED // max(1, blocks[0].numel()))  # a quarter of the time of a large matrix as a whole
    parts = [slice(start, start + rows) for start in range(0, len(blocks), rows)]
    found = [_search(blocks[part], grid.of_rows(part), importance.expand_as(blocks)[part]) for part in parts]
    scales, zero_points = zip(*found, strict=True)
    return torch.cat(scales), torch.cat(zero_points)


def _search(blocks: Tensor, grid: Grid, weight: Tensor) -> tuple[Tensor, Tensor]:
    least, greatest = grid.span(blocks.device)
    total = weight.sum(-1, keepdim=True).clamp_min(1e-30)
    best_scale, best_zero = cover(blocks, grid)
    best_error = _error(blocks, best_scale, best_zero, grid, weight)
    for share in torch.linspace(0.25, 1.0, 16).tolist():
        scale, zero = cover(blocks, grid)
        if not grid.symmetric:  # the same centre, a narrower span
            centre = (blocks.amin(-1, keepdim=True) + blocks.amax(-1, keepdim=True)) / 2
            zero = (least + greatest) / 2 - centre / (scale * share)
        scale = scale * share
        for _ in range(3):
            codes = (blocks / scale + zero).round_().clamp_(least, greatest)
            if grid.symmetric:
                size = (weight * codes**2).sum(-1, True)
                fitted = (weight * codes * blocks).sum(-1, True) / size.clamp_min(1e-30)
                scale = torch.where((size > 0) & (fitted > _TINY), fitted, scale)
                continue
            mean_code = (weight * codes).sum(-1, True) / total
            mean = (weight * blocks).sum(-1, True) / total
            covariance = (weight * (codes - mean_code) * (blocks - mean)).sum(-1, True)
            variance = (weight * (codes - mean_code) ** 2).sum(-1, True)
            fitted = covariance / variance.clamp_min(1e-30)
            scale = torch.where((variance > 0) & (fitted > _TINY), fitted, scale)
            zero = mean_code - mean / scale
        error = _error(blocks, scale, zero, grid, weight)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale, best_zero = torch.where(better, scale, best_scale), torch.where(better, zero, best_zero)
    return best_scale, best_zero


def quantize(
    weight: Tensor, grid: Grid, *, importance: Tensor | None = None, searched: bool = False
) -> Quantized:
    """Round ``weight`` to the nearest value of ``grid``.

    Parameters
    ----------
    weight
        Any shape, float.
    importance
        As in `search`; only used when ``searched``.
    searched
        Take the scales of least squared error instead of those that span every value.
    """
    blocks = grid.blocks(weight.float())
    if searched and importance is None:
        importance = grid.importances(torch.ones_like(weight, dtype=torch.float32))
    scale, zero_point = search(blocks, grid, importance) if searched else cover(blocks, grid)
    codes = (blocks / scale).add_(zero_point).round_().clamp_(*grid.span(blocks.device))
    return Quantized(grid, tuple(weight.shape), codes, scale, zero_point)


def quantize_in_8_bits(
    weight: Tensor, *, importance: Tensor | None = None, zero_points: bool = False
) -> Quantized:
    """Round ``weight`` to 8 bits, a scale for each row, to the nearest.

    Parameters
    ----------
    importance
        Weight of the error of each value, in the shape of ``weight``; by default all count alike.
    zero_points
        Take zero points as well where the error is less with them.
    """
    rounded = quantize(weight, Grid(8, symmetric=True))
    if not zero_points:
        return rounded
    moved = quantize(weight, Grid(8))
    errors = [
        float(((each.dequantize() - weight) ** 2 * (1.0 if importance is None else importance)).sum())
        for each in (rounded, moved)
    ]
    return moved if errors[1] < errors[0] else rounded


def _error(blocks: Tensor, scale: Tensor, zero: Tensor, grid: Grid, weight: Tensor) -> Tensor:
    codes = (blocks / scale + zero).round_().clamp_(*grid.span(blocks.device))
    return (weight * ((codes - zero) * scale - blocks) ** 2).sum(-1, True)


def _stored(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = values.reshape(-1).to(torch.float32).numpy()
    return array
