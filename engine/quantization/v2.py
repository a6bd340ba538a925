"""Write a quantized model's weights as a V2 file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aios_db.engine.quantization.report import LayerReport
from aios_db.engine.quantization.rounding import Quantized, quantize_in_8_bits
from aios_db.engine.weights.int2 import planes_of
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.quantized import dequantize, matrix_shape
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights

log = logging.getLogger("aios_db.engine.quantization")

_SMALL = 4096  # a tensor of fewer values is not worth scales
_FP16_MAX = 60000.0
_PART = 1 << 22  # values compared at a time


@dataclass(frozen=True)
class Written:
    """What `write_v2` wrote."""

    layers: tuple[LayerReport, ...]
    file_bytes: int
    sha256: str
    """Of the content."""


def write_v2(
    path: Path,
    source: Path,
    model: nn.Module,
    quantized: Mapping[str, Quantized],
    *,
    kept: Collection[str] = (),
    language_model: bool = False,
    zero_points: bool = False,
) -> Written:
    """Write every tensor of the weight file ``source`` to ``path``: tables as int8, other floats as fp16.

    Parameters
    ----------
    model
        Holds the biases and norms as quantization left them.
    quantized
        Quantized weights by tensor name.
    kept
        Weights that stay floats. With the quantized ones they count as linear layers in the report.
    language_model
        Whether the model scores tokens instead of embedding its input.
    zero_points
        Whether tables may have zero points, where these lower the error.
    """
    reports: list[LayerReport] = []
    parameters = dict(model.named_parameters())
    # A language model may multiply by its token table, which wants a scale for each row.
    looked_up = (
        set()
        if language_model
        else {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    )

    def layers(file: WeightFile) -> Iterator[StoredTensor]:
        for name, info in file.layers.items():
            original = file.tensor(name).to(torch.float32)
            value = original if name not in parameters else parameters[name].detach()
            if name in quantized:
                layer = quantized[name].to_layer(name, info.dtype)
            elif name not in kept and value.dim() == 2 and value.numel() >= _SMALL:
                layer = _table(name, value, info.dtype, by_column=name in looked_up, zero_points=zero_points)
            else:
                layer = _floats(name, value, info.dtype)
            reports.append(_report(layer, original, name in quantized or name in kept))
            file.release(name)
            yield layer

    with WeightFile(source) as file:  # a mapping of its own: its pages are given back one by one
        digest = write_weights(path, layers(file), version=2)
    return Written(tuple(reports), path.stat().st_size, digest)


def _floats(name: str, value: Tensor, dtype: str) -> StoredTensor:
    fits = not value.numel() or float(value.abs().max()) < _FP16_MAX
    if not fits:
        log.warning("layer %s stays fp32: fp16 cannot hold its values", name)
    info = LayerInfo(name, tuple(value.shape), dtype, value.numel(), quant_type="fp16" if fits else "fp32")
    return StoredTensor(info, value.to(torch.float16 if fits else torch.float32).contiguous().numpy())


def _table(name: str, value: Tensor, dtype: str, *, by_column: bool, zero_points: bool) -> StoredTensor:
    """Return a table in 8 bits with a scale for each row, or each column: there are far fewer of these."""
    if not by_column:
        return quantize_in_8_bits(value, zero_points=zero_points).to_layer(name, dtype)
    columns = quantize_in_8_bits(value.T.contiguous(), zero_points=zero_points).to_layer(name, dtype)
    info = replace(columns.info, shape=tuple(value.shape), quant_axis=1)
    return replace(columns, info=info, data=np.ascontiguousarray(columns.data.T))


def _report(layer: StoredTensor, original: Tensor, is_linear: bool) -> LayerReport:
    info = layer.info
    stored = dequantize(
        layer.data,
        info.quant_type,
        layer.scales,
        layer.zero_points,
        info.shape,
        info.group_size,
        info.quant_axis,
    )
    size = squares = 0.0
    parts = (torch.split(each.reshape(-1), _PART) for each in (original, torch.from_numpy(stored)))
    for before, after in zip(*parts, strict=True):  # of a large table, copies are large
        size += float(before.square().sum())
        squares += float((after - before).square().sum())
    error = squares / size if size else 0.0
    refined = 0
    if info.quant_type == "int2":
        rows, columns = matrix_shape(info.shape)
        planes = planes_of(np.frombuffer(layer.data, np.uint8), rows, columns)
        refined = planes[0].rows.size * columns if planes else 0
    return LayerReport(
        info.name, info.quant_type, info.group_size, info.num_params, layer.nbytes, error, is_linear, refined
    )  # fmt: skip
