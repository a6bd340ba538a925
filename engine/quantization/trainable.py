"""Linear layers that train while their weights come to rest on a grid.

Which of the two integers beside it a weight takes is learned as in AdaRound (Nagel et al., 2020): it is
``(floor + sigmoid(logit / temperature) - zero_point) * scale``, and a falling temperature hardens the sigmoid
into 0 or 1. Unlike the straight-through estimator, which draws weights to the border between two integers and
lets them swing there, the gradient is that of what is computed. Scales and zero points are learned along
(Esser et al., 2020; Bhalgat et al., 2020); scales count in shares of what they were at first, so that one
learning rate suits layers of any magnitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aios_db.engine.quantization.rounding import Quantized

_CACHED = 1 << 17  # values worked on at a time on a CPU, so that they stay in its cache
_MIDDLE = 0.96  # of the way between two integers: where logits begin, since at the ends they hardly move


class _OnGrid(torch.autograd.Function):
    """Logits of rounding up to the weights they stand for."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes no names
        context: Any,
        logits: Tensor,
        scale: Tensor,
        zero_point: Tensor,
        floor: Tensor,
        temperature: float,
        dtype: torch.dtype,
    ) -> Tensor:
        context.save_for_backward(logits, scale, zero_point, floor)
        context.temperature = temperature
        weight = torch.empty_like(logits, dtype=dtype)
        for part, rows in _parts(logits):
            values = part.div(temperature).sigmoid_().add_(floor[rows])
            weight[rows] = values.sub_(_of(zero_point, rows)).mul_(_of(scale, rows))
        return weight

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, scale, zero_point, floor = context.saved_tensors
        by_logit = torch.empty_like(logits)
        by_scale, by_zero = torch.zeros_like(scale), torch.zeros_like(scale)
        for part, rows in _parts(logits):
            passed = gradient[rows].float()
            up = part.div(context.temperature).sigmoid_()
            _of(by_scale, rows).add_((passed * (floor[rows] + up)).sum(-1, keepdim=True))
            _of(by_zero, rows).add_(passed.sum(-1, keepdim=True))
            slope = up.addcmul_(up, up, value=-1).div_(context.temperature)
            by_logit[rows] = passed.mul_(slope).mul_(_of(scale, rows))
        return by_logit, by_scale - zero_point * by_zero, -scale * by_zero, None, None, None


class GridLinear(nn.Module):
    """A linear layer whose weight is computed from its grid each time it is used.

    Parameters
    ----------
    linear
        Its bias is shared.
    quantized
        The weight. Until `loosen` is called, its integers stay, and scales and zero points train.
    dtype
        Type of the computed weight.

    Attributes
    ----------
    temperature
        1 leaves weights where their logits put them, less draws them to their integers.
    """

    def __init__(self, linear: nn.Linear, quantized: Quantized, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.grid, self.shape, self._dtype = quantized.grid, quantized.shape, dtype
        self.temperature = 1.0
        self.stretch = nn.Parameter(torch.ones_like(quantized.scale))
        self.zero_point = nn.Parameter(quantized.zero_point.clone(), requires_grad=not self.grid.symmetric)
        self.logits: nn.Parameter | None = None
        self.scale: Tensor
        self.floor: Tensor
        self.register_buffer("scale", quantized.scale.clone())
        self.register_buffer("floor", quantized.codes.to(torch.int8))
        self.bias = linear.bias

    @torch.no_grad()
    def loosen(self, original: Tensor, share: float) -> None:
        """Let each weight choose between its integer and the next one towards where it was.

        Parameters
        ----------
        original
            ``(rows, columns)``, what was quantized.
        share
            Of the way there that the weight goes now.
        """
        codes = self.floor.float()
        low, high = self.grid.span(codes.device)
        place = self.grid.blocks(original.float()) / self.scale + self.zero_point
        floor = torch.where(place < codes, codes - 1, codes)
        floor = torch.maximum(torch.minimum(floor, high - 1), low)
        begin = torch.lerp(codes - floor, (place - floor).clamp(0, 1), share)
        self.floor = floor.to(torch.int8)  # not in place: the integers may be kept elsewhere
        self.logits = nn.Parameter(torch.logit(0.5 + _MIDDLE * (begin - 0.5)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, rows) for (…, columns)."""
        scale = self.scale * self.stretch
        if self.logits is None:
            blocks = ((self.floor - self.zero_point) * scale).to(self._dtype)
        else:
            blocks = _OnGrid.apply(  # type: ignore[no-untyped-call]
                self.logits, scale, self.zero_point, self.floor, self.temperature, self._dtype
            )
        return functional.linear(x, self.grid.unblock(blocks, self.shape), self.bias)

    @torch.no_grad()
    def quantized(self) -> Quantized:
        """Return the weight with each logit decided."""
        codes = self.floor.float()
        if self.logits is not None:
            codes += self.logits > 0
        return Quantized(self.grid, self.shape, codes, self.scale * self.stretch, self.zero_point.clone())


def _parts(blocks: Tensor) -> Iterator[tuple[Tensor, slice]]:
    on_cpu = blocks.device.type == "cpu"
    rows = max(1, _CACHED // max(1, blocks[0].numel())) if on_cpu else len(blocks)
    for start in range(0, len(blocks), rows):
        part = slice(start, start + rows)
        yield blocks[part], part


def _of(values: Tensor, rows: slice) -> Tensor:
    return values if len(values) == 1 else values[rows]
