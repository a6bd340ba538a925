"""Static INT8 of an OpenVINO graph: 8-bit weights of its linear layers, their inputs by FakeQuantize.

OpenVINO's CPU plug-in multiplies in 8 bits what it finds between a FakeQuantize and 8-bit weights. Ranges are
found once, on calibration inputs, after SmoothQuant (Xiao et al. 2022) has moved what it can of the
activations' outliers into the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.protocol import Arrays

Floats = NDArray[np.float32]

# How much of an outlier goes into the weights (alpha of SmoothQuant). On 600 texts of six kinds MiniLM has a
# mean cosine of .9960 with .6 and .9977 with .7 and .8; with .8 the lines of WikiText have less than with .7.
SMOOTHING = 0.7
# Channels that were quiet in calibration are not made louder than this share of the channels is: another text
# may use them.
QUIET = 0.1
LEVELS = 256  # of activations; weights have 255, the same on both sides of 0
_LEAST = 1e-5  # a range is never empty


@dataclass
class _Layer:
    """Matrix products by constant weights that read the same activations, and the ranges of these."""

    source: Any
    products: list[Any]
    low: Floats = field(default_factory=lambda: np.array(np.inf, np.float32))
    high: Floats = field(default_factory=lambda: np.array(-np.inf, np.float32))

    def see(self, activations: Floats) -> None:
        """Widen the range of each channel, the last axis of ``activations``."""
        rows = activations.reshape(-1, activations.shape[-1])
        self.low = np.minimum(self.low, rows.min(axis=0))
        self.high = np.maximum(self.high, rows.max(axis=0))


def quantized(core: Any, model: Any, calibration: Sequence[Arrays]) -> Any:
    """Return a copy of the graph ``model`` in static INT8.

    Weights of linear layers are int8 with a scale for each output, those of embeddings int8 with a scale for
    each row; activations have 8 bits, with one scale and zero point a tensor. All else stays as it is.

    Parameters
    ----------
    core : openvino.Core
        Runs the graph on ``calibration``.
    model : openvino.Model
        A graph with float weights; it is not changed.
    calibration : Sequence[Arrays]
        Typical inputs, at least one.
    """
    model = model.clone()
    layers = _linear_layers(model)
    _find_ranges(core, model, layers, calibration)
    for layer in layers:
        _quantize_layer(layer)
    for gather in [op for op in model.get_ordered_ops() if op.get_type_name() == "Gather"]:
        _quantize_embedding(gather)
    model.validate_nodes_and_infer_types()
    return model


def _linear_layers(model: Any) -> list[_Layer]:
    found: dict[tuple[str, int], _Layer] = {}
    for op in model.get_ordered_ops():
        if op.get_type_name() != "MatMul" or op.get_attributes()["transpose_a"]:
            continue
        if _matrix(op.input_value(1)) is None:
            continue
        source = op.input_value(0)
        if source.get_partial_shape().rank.is_dynamic:
            continue
        key = source.get_node().get_friendly_name(), source.get_index()
        found.setdefault(key, _Layer(source, [])).products.append(op)
    return list(found.values())


def _matrix(value: Any) -> Any:
    """Return the constant of two dimensions with float values that ``value`` is, or None."""
    node = value.get_node()
    if node.get_type_name() == "Convert":  # weights that are kept as fp16
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant" or not node.get_element_type().is_real():
        return None
    return node if len(node.get_output_shape(0)) == 2 else None


def _weights(product: Any) -> Floats:
    """Return the weights (outputs, inputs) of a matrix product."""
    weights = np.asarray(_matrix(product.input_value(1)).get_data(), np.float32)
    return weights if product.get_attributes()["transpose_b"] else np.ascontiguousarray(weights.T)


def _find_ranges(core: Any, model: Any, layers: Sequence[_Layer], calibration: Sequence[Arrays]) -> None:
    """Run ``calibration`` in fp32 with the layers' inputs as further outputs."""
    tapped = model.clone()
    nodes = {op.get_friendly_name(): op for op in tapped.get_ops()}
    sources = [layer.source for layer in layers]
    tapped.add_outputs(
        [nodes[each.get_node().get_friendly_name()].output(each.get_index()) for each in sources]
    )
    request = core.compile_model(tapped, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    first = len(model.outputs)
    for arrays in calibration:
        request.infer(tuple(map(np.ascontiguousarray, arrays)))
        for index, layer in enumerate(layers, first):
            layer.see(request.get_output_tensor(index).data)


def _quantize_layer(layer: _Layer) -> None:
    from openvino import opset13 as ops

    weights = [_weights(product) for product in layer.products]
    scale = _smoothing(layer, np.abs(np.concatenate(weights)).max(axis=0))
    low, high = (
        ops.constant(np.float32(end))
        for end in _whole_steps(float((layer.low / scale).min()), float((layer.high / scale).max()))
    )
    rank = layer.source.get_partial_shape().rank.get_length()
    inverse = ops.constant((1 / scale).reshape((1,) * (rank - 1) + (-1,)))
    inputs = ops.fake_quantize(ops.multiply(layer.source, inverse), low, high, low, high, LEVELS)
    for product, matrix in zip(layer.products, weights, strict=True):
        changed = ops.matmul(inputs, _integers(matrix * scale), False, True)
        changed.set_friendly_name(product.get_friendly_name())
        product.output(0).replace(changed.output(0))


def _smoothing(layer: _Layer, loudest_weights: Floats) -> Floats:
    """Return what each channel of the activations is divided by, and the weights are multiplied by."""
    loudest = np.maximum(np.maximum(-layer.low, layer.high), _LEAST)
    scale = loudest**SMOOTHING / np.maximum(loudest_weights, _LEAST) ** (1 - SMOOTHING)
    return np.maximum(scale, np.quantile(scale, QUIET)).astype(np.float32)


def _whole_steps(low: float, high: float) -> tuple[float, float]:
    """Return the range of ``low``, ``high`` and 0, moved by half a step at most so that 0 is a level."""
    low, high = min(low, 0.0), max(high, low + _LEAST, 0.0)
    step = (high - low) / (LEVELS - 1)
    zero = round(-low / step)
    return -zero * step, (LEVELS - 1 - zero) * step


def _integers(matrix: Floats) -> Any:
    """Return nodes that compute ``matrix`` from int8 values and a scale for each of its rows."""
    from openvino import opset13 as ops

    scales = np.maximum(np.abs(matrix).max(axis=1, keepdims=True) / 127, np.finfo(np.float32).tiny)
    values = np.clip(np.round(matrix / scales), -127, 127).astype(np.int8)
    return ops.multiply(
        ops.convert(ops.constant(values), "f32"), ops.constant(scales.astype(np.float32))
    ).output(0)


def _quantize_embedding(gather: Any) -> None:
    table = _matrix(gather.input_value(0))
    axis = gather.input_value(2).get_node()
    if table is None or axis.get_type_name() != "Constant" or int(axis.get_data().item()) != 0:
        return
    gather.input(0).replace_source_output(_integers(np.asarray(table.get_data(), np.float32)))
