"""Linear layers that train while their weights stand on a grid.

A weight is ``(round(position) - zero_point) * scale``. Positions move by the straight-through estimator
(Bengio et al., 2013), as if rounding were not there; scales and zero points are learned with them (Esser et
al., 2020; Bhalgat et al., 2020). Positions count in steps of the grid and scales in shares of what they were
at first, so that one learning rate suits layers of any magnitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aios_db.engine.quantization.rounding import Quantized

_CACHED = 1 << 17  # values worked on at a time, so that they stay in the processor's cache


class _OnGrid(torch.autograd.Function):
    """Positions to the weights they stand for."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes no names
        context: Any,
        positions: Tensor,
        scale: Tensor,
        zero_point: Tensor,
        span: tuple[int, int],
        dtype: torch.dtype,
    ) -> Tensor:
        context.save_for_backward(positions, scale, zero_point)
        context.span = span
        weight = torch.empty(positions.shape, dtype=dtype)
        for part, rows in _parts(positions):
            codes = part.clamp(*span).round_()
            weight[rows] = codes.sub_(_of(zero_point, rows)).mul_(_of(scale, rows))
        return weight

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        positions, scale, zero_point = context.saved_tensors
        low, high = context.span
        by_position = torch.empty_like(positions)
        by_scale, by_zero = torch.zeros_like(scale), torch.zeros_like(scale)
        for part, rows in _parts(positions):
            passed = gradient[rows].float()
            codes = part.clamp(low, high).round_()
            _of(by_scale, rows).add_((passed * codes).sum(-1, keepdim=True))
            _of(by_zero, rows).add_(passed.sum(-1, keepdim=True))
            inside = (part >= low - 0.5) & (part <= high + 0.5)
            by_position[rows] = passed.mul_(_of(scale, rows)).mul_(inside)
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
        self.positions = nn.Parameter(quantized.codes.to(torch.float32, copy=True), requires_grad=moving)
        self.stretch = nn.Parameter(torch.ones_like(quantized.scale))
        self.zero_point = nn.Parameter(quantized.zero_point.clone(), requires_grad=not self.grid.symmetric)
        self.scale: Tensor
        self.register_buffer("scale", quantized.scale.clone())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, rows) for (…, columns)."""
        span, scale = (self.grid.low, self.grid.high), self.scale * self.stretch
        blocks = _OnGrid.apply(self.positions, scale, self.zero_point, span, self._dtype)  # type: ignore[no-untyped-call]
        return functional.linear(x, self.grid.unblock(blocks, self.shape), self.bias)

    @torch.no_grad()
    def quantized(self) -> Quantized:
        """Return the weight as it stands on the grid."""
        codes = self.positions.clamp(self.grid.low, self.grid.high).round()
        return Quantized(self.grid, self.shape, codes, self.scale * self.stretch, self.zero_point.clone())


def _parts(blocks: Tensor) -> Iterator[tuple[Tensor, slice]]:
    rows = max(1, _CACHED // max(1, blocks[0].numel()))
    for start in range(0, len(blocks), rows):
        part = slice(start, start + rows)
        yield blocks[part], part


def _of(values: Tensor, rows: slice) -> Tensor:
    return values if len(values) == 1 else values[rows]
