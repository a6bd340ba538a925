"""Linear layers that train while their weights stand on a grid.

A weight is ``(round(position * steps) - zero_point) * scale``; rows of more than 2 bits have several steps.
Positions move by the straight-through estimator (Bengio et al., 2013), as if rounding were not there; scales
and zero points are learned with them (Esser et al., 2020; Bhalgat et al., 2020). Positions count in steps of
the 2-bit grid and scales in shares of what they were at first, so that one learning rate suits layers of any
magnitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aios_db.engine.quantization.rounding import Grid, Quantized

_ALL = slice(None)
_CACHED = 1 << 17  # values worked on at a time, so that they stay in the processor's cache


class _Steps:
    """The integers of a grid, and where positions are among them."""

    def __init__(self, grid: Grid) -> None:
        self.low, self.high = grid.span()
        self.steps = grid.steps()

    def codes(self, positions: Tensor, rows: slice = _ALL) -> Tensor:
        """Return the integers nearest to positions."""
        scaled = positions * _of(self.steps, rows)
        return scaled.clamp_(_of(self.low, rows), _of(self.high, rows)).round_()

    def inside(self, positions: Tensor, rows: slice) -> Tensor:
        """Return which positions are not beyond the grid."""
        scaled = positions * _of(self.steps, rows)
        return (scaled >= _of(self.low, rows) - 0.5) & (scaled <= _of(self.high, rows) + 0.5)


class _OnGrid(torch.autograd.Function):
    """Positions to the weights they stand for."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes no names
        context: Any,
        positions: Tensor,
        scale: Tensor,
        zero_point: Tensor,
        grid: _Steps,
        dtype: torch.dtype,
    ) -> Tensor:
        context.save_for_backward(positions, scale, zero_point)
        context.grid = grid
        weight = torch.empty(positions.shape, dtype=dtype)
        for part, rows in _parts(positions):
            codes = grid.codes(part, rows)
            weight[rows] = codes.sub_(_of(zero_point, rows)).mul_(_of(scale, rows))
        return weight

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        positions, scale, zero_point = context.saved_tensors
        by_position = torch.empty_like(positions)
        by_scale, by_zero = torch.zeros_like(scale), torch.zeros_like(scale)
        slope = scale * context.grid.steps
        for part, rows in _parts(positions):
            passed = gradient[rows].float()
            codes = context.grid.codes(part, rows)
            _of(by_scale, rows).add_((passed * codes).sum(-1, keepdim=True))
            _of(by_zero, rows).add_(passed.sum(-1, keepdim=True))
            by_position[rows] = passed.mul_(_of(slope, rows)).mul_(context.grid.inside(part, rows))
        return by_position, by_scale - zero_point * by_zero, -scale * by_zero, None, None


class GridLinear(nn.Module):
    """A linear layer whose weight is rounded to its grid each time it is used.

    Parameters
    ----------
    linear
        Its bias is shared.
    moving
        Let integers change; otherwise only scales and zero points do.
    dtype
        Type of the rounded weight.
    """

    def __init__(self, linear: nn.Linear, quantized: Quantized, *, moving: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.grid, self.shape, self._dtype = quantized.grid, quantized.shape, dtype
        self._steps = _Steps(self.grid)
        self.positions = nn.Parameter(quantized.codes / self._steps.steps, requires_grad=moving)
        self.stretch = nn.Parameter(torch.ones_like(quantized.scale))
        self.zero_point = nn.Parameter(quantized.zero_point.clone(), requires_grad=not self.grid.symmetric)
        self.scale: Tensor
        self.register_buffer("scale", quantized.scale.clone())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, rows) for (…, columns)."""
        scale = self.scale * self.stretch
        blocks = _OnGrid.apply(self.positions, scale, self.zero_point, self._steps, self._dtype)  # type: ignore[no-untyped-call]
        return functional.linear(x, self.grid.unblock(blocks, self.shape), self.bias)

    @torch.no_grad()
    def settle(self, share: float) -> None:
        """Move positions a share of the way to the integers that they stand for."""
        for part, rows in _parts(self.positions):
            codes = self._steps.codes(part, rows)
            part.lerp_(codes.div_(_of(self._steps.steps, rows)), share)

    @torch.no_grad()
    def quantized(self) -> Quantized:
        """Return the weight as it stands on the grid."""
        codes = self._steps.codes(self.positions)
        return Quantized(self.grid, self.shape, codes, self.scale * self.stretch, self.zero_point.clone())


def _parts(blocks: Tensor) -> Iterator[tuple[Tensor, slice]]:
    rows = max(1, _CACHED // max(1, blocks[0].numel()))
    for start in range(0, len(blocks), rows):
        part = slice(start, start + rows)
        yield blocks[part], part


def _of(values: Tensor, rows: slice) -> Tensor:
    return values if len(values) == 1 else values[rows]
