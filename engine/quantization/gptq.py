"""Rounding of one weight matrix that minimises the error of the layer's output, not of the weight.

With H the second moment of a layer's inputs, the error of the output is ``tr((Q - W) H (Q - W)^T)``. GPTQ
(Frantar et al., 2022) rounds one column after another and moves what it lost to the columns not yet rounded.
What follows lowers the same objective further: scales and zero points are fitted to the integers in closed
form, and each integer is reconsidered given all the others (cyclic coordinate descent, as in QuantEase,
Behdin et al., 2023).

Matrices are held transposed, (columns, rows), so that one step works on contiguous memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aios_db.engine.quantization.rounding import Grid, Quantized, search

_BLOCK = 128  # columns between two updates of all that remain


@dataclass(frozen=True)
class GptqSettings:
    """How the solver works."""

    damping: float = 0.01
    """Added to the Hessian's diagonal, as a share of its mean."""
    act_order: bool = True
    """Round the columns with the largest inputs first."""
    refinements: int = 2
    """Rounds of refitting scales and reconsidering integers after GPTQ's own pass; 0 is plain GPTQ."""


def damp(hessian: Tensor, damping: float) -> Tensor:
    """Return ``hessian`` with ``damping`` times its mean diagonal added to the diagonal."""
    damped = hessian.clone()
    damped.diagonal().add_(damping * hessian.diagonal().mean().clamp_min(1e-12))
    return damped


def solve(weight: Tensor, hessian: Tensor, grid: Grid, settings: GptqSettings) -> Quantized:
    """Quantize ``weight`` for inputs of the given second moment.

    Parameters
    ----------
    weight
        (rows, columns) float32.
    hessian
        (columns, columns) float32, symmetric, not negative; damped in here.
    """
    damped = damp(hessian, settings.damping)
    blocks = grid.blocks(weight)
    importance = grid.importances(damped.diagonal().expand_as(weight))
    scale, zero_point = search(blocks, grid, importance)
    state = _State(weight.T.contiguous(), grid, tuple(weight.shape), scale, zero_point)
    state.codes = _gptq_pass(state, damped, settings.act_order)
    for _ in range(settings.refinements):
        state.fit_scales(damped)
        _descend(state, damped)
    if settings.refinements:
        state.fit_scales(damped)
    return Quantized(
        grid, state.shape, grid.blocks(state.codes.T.contiguous()), state.scale, state.zero_point
    )


def relative_error(quantized: Quantized, weight: Tensor, hessian: Tensor) -> float:
    """Return the squared error of the layer's output as a share of the output's own squared size."""
    error = quantized.dequantize() - weight
    size = float(((weight @ hessian) * weight).sum())
    return float(((error @ hessian) * error).sum()) / size if size > 0 else 0.0


@dataclass
class _State:
    """A matrix on its way to the grid: transposed target, transposed integers, scales in blocks."""

    target: Tensor
    grid: Grid
    shape: tuple[int, ...]
    scale: Tensor
    zero_point: Tensor
    codes: Tensor = field(default_factory=lambda: torch.empty(0))

    def expanded(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point for each weight, both (columns, rows)."""
        group = self.grid.blocks(torch.empty(self.shape, device="meta")).shape[-1]
        both = []
        for values in (self.scale, self.zero_point):
            wide = self.grid.unblock(values.expand(-1, -1, group).contiguous(), self.shape)
            both.append(wide.T.contiguous())
        return both[0], both[1]

    def values(self) -> Tensor:
        """Return the dequantized weights, (columns, rows)."""
        scale, zero_point = self.expanded()
        return (self.codes - zero_point) * scale

    def fit_scales(self, hessian: Tensor) -> None:
        """Set each row's scales and zero points to those of least output error for the present integers."""
        if self.grid.group_size < 0:
            return  # one scale for all rows: search() has set it
        columns = self.shape[1]
        group = self.grid.group_size or columns
        error = self.values() - self.target
        for index, start in enumerate(range(0, columns, group)):
            part = slice(start, min(start + group, columns))
            codes, inner = self.codes[part], hessian[part, part]
            scale, zero_point = self.scale[:, index, 0], self.zero_point[:, index, 0]
            present = (codes - zero_point) * scale
            # The best correction of this group given every other group's error.
            wanted = inner @ present - hessian[part] @ error
            weighted = inner @ codes
            a, y_code = (codes * weighted).sum(0), (codes * wanted).sum(0)
            if self.grid.symmetric:
                fitted, offset = y_code / a.clamp_min(1e-30), torch.zeros_like(a)
                usable = (a > 0) & (fitted > 1e-8)
            else:
                b, c, y_one = weighted.sum(0), inner.sum(), wanted.sum(0)
                determinant = a * c - b * b
                safe = torch.where(determinant.abs() > 0, determinant, torch.ones_like(determinant))
                fitted, offset = (y_code * c - y_one * b) / safe, (a * y_one - y_code * b) / safe
                usable = (determinant > 1e-6 * (a * c).abs()) & (fitted > 1e-8)
            new_scale = torch.where(usable, fitted, scale)
            new_zero = torch.where(usable, -offset / new_scale, zero_point)
            self.scale[:, index, 0], self.zero_point[:, index, 0] = new_scale, new_zero
            error[part] += (codes - new_zero) * new_scale - present


def _gptq_pass(state: _State, hessian: Tensor, act_order: bool) -> Tensor:
    columns = len(hessian)
    order = torch.arange(columns, device=hessian.device)
    if act_order:
        order = hessian.diagonal().argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)
    scale, zero_point = (values[order] for values in state.expanded())
    weight, codes = state.target[order], torch.empty_like(state.target)
    low, high = (limit.view(-1) for limit in state.grid.span(hessian.device))
    for start in range(0, columns, _BLOCK):
        end = min(start + _BLOCK, columns)
        errors = weight.new_empty(end - start, weight.shape[1])
        for column in range(start, end):
            value = weight[column]
            code = (value / scale[column] + zero_point[column]).round_().clamp_(low, high)
            error = (value - (code - zero_point[column]) * scale[column]) / upper[column, column]
            codes[column], errors[column - start] = code, error
            weight[column + 1 : end].addr_(upper[column, column + 1 : end], error, alpha=-1)
        weight[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
    restored = torch.empty_like(codes)
    restored[order] = codes
    return restored


def _descend(state: _State, hessian: Tensor) -> None:
    """Set each integer to its best value given the others, once through all columns."""
    scale, zero_point = state.expanded()
    values = state.values()
    gradient = hessian @ (values - state.target)
    low, high = (limit.view(-1) for limit in state.grid.span(hessian.device))
    for start in range(0, len(hessian), _BLOCK):
        end = min(start + _BLOCK, len(hessian))
        inner, local = hessian[start:end, start:end], gradient[start:end].clone()
        moves = values.new_empty(end - start, values.shape[1])
        for row, column in enumerate(range(start, end)):
            best = values[column] - local[row] / inner[row, row]
            code = (best / scale[column] + zero_point[column]).round_().clamp_(low, high)
            move = (code - zero_point[column]) * scale[column] - values[column]
            state.codes[column] = code
            moves[row] = move
            local[row + 1 :].addr_(inner[row, row + 1 :], move)
        values[start:end] += moves
        gradient.addmm_(hessian[:, start:end], moves)
