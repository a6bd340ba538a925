"""Which weights get more than 2 bits: where most of the sensitivity goes away for a bit."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from aios_db.engine.quantization.rounding import PER_TENSOR, Grid
from aios_db.engine.weights.int2 import MAX_PLANES

log = logging.getLogger("aios_db.engine.quantization")

_LEFT = 0.3  # of the squared error of rounding, with one bit more


def layers_in_8_bits(
    sensitivity: Mapping[str, float],
    shapes: Mapping[str, tuple[int, ...]],
    grids: Mapping[str, Grid],
    *,
    max_bits: float,
    large: Grid = Grid(8, symmetric=True),  # noqa: B008 - frozen
) -> dict[str, Grid]:
    """Return ``grids`` with 8 bits for the 2-bit layers that pay most per extra bit.

    Parameters
    ----------
    large
        The grid of 8 bits.
    max_bits
        Bits per weight over all layers, scales and zero points included.
    """
    result, left = dict(grids), _left(shapes, grids, max_bits)

    def extra(name: str) -> int:
        return large.stored_bits(shapes[name]) - grids[name].stored_bits(shapes[name])

    small = [name for name, grid in grids.items() if grid.bits == 2]
    for name in sorted(small, key=lambda name: sensitivity[name] / extra(name), reverse=True):
        if extra(name) <= left:
            result[name] = large
            left -= extra(name)
    return result


def rows_with_planes(
    sensitivity: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    grids: Mapping[str, Grid],
    *,
    max_bits: float,
    min_int2: float,
) -> dict[str, Grid]:
    """Return ``grids`` with planes for the rows of 2-bit layers that pay most per extra bit.

    Parameters
    ----------
    sensitivity
        (rows,) for each layer.
    max_bits
        As in `layers_in_8_bits`.
    min_int2
        Share of the weights of 2-bit layers that keep 2 bits.
    """
    names = [name for name, grid in grids.items() if grid.bits == 2]
    if not names:
        return dict(grids)
    if any(grids[name].group_size == PER_TENSOR for name in names):
        log.warning("group_size -1 leaves rows no scales of their own: they all keep 2 bits")
        return dict(grids)
    rows = [shapes[name][0] for name in names]
    planes = {name: replace(grids[name], planes=(0,) * shapes[name][0]) for name in names}
    # Every plane ends in a whole byte.
    left = _left(shapes, {**grids, **planes}, max_bits) - 8 * MAX_PLANES * len(names)
    widths = torch.tensor([math.prod(shapes[name][1:]) for name in names])
    columns = widths.repeat_interleave(torch.tensor(rows))
    gain = torch.cat([sensitivity[name] for name in names]) / columns
    order = gain.argsort(descending=True, stable=True)
    gain[order] *= columns[order].cumsum(0) <= (1 - min_int2) * columns.sum()
    # The next plane of a row gains less than the one before it, so the first that fit can simply be taken.
    gains = torch.outer(gain, _LEFT ** torch.arange(MAX_PLANES)).view(-1)
    costs = columns.repeat_interleave(MAX_PLANES)
    order = gains.argsort(descending=True, stable=True)
    taken = torch.zeros(len(gains), dtype=torch.bool)
    taken[order] = (costs[order].cumsum(0) <= left) & (gains[order] > 0)
    counts = torch.split(taken.view(-1, MAX_PLANES).sum(1), rows)
    chosen = {name: tuple(count.tolist()) for name, count in zip(names, counts, strict=True)}
    return {
        name: replace(grid, planes=chosen[name]) if any(chosen.get(name, ())) else grid
        for name, grid in grids.items()
    }


def _left(shapes: Mapping[str, tuple[int, ...]], grids: Mapping[str, Grid], max_bits: float) -> float:
    weights = sum(math.prod(shapes[name]) for name in grids)
    return max_bits * weights - sum(grid.stored_bits(shapes[name]) for name, grid in grids.items())
