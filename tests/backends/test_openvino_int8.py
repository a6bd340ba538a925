"""The static INT8 graph for OpenVINO: what becomes 8-bit, how close it stays, and that it needs no NNCF."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.engine.backends import openvino_int8
from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.catalog.find import find_model
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import ModelNotFoundError

ov = pytest.importorskip("openvino")
from openvino import opset13 as ops  # noqa: E402  # only after the skip

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(40, 16)).astype(np.float32)
LEFT, RIGHT = (RANDOM.normal(size=(16, 24)).astype(np.float32) for _ in range(2))
OUT = RANDOM.normal(size=(8, 24)).astype(np.float32)


def graph() -> Any:
    """Return an embedding, two matrices that read it (one kept as fp16), and one transposed."""
    ids = ops.parameter([-1, -1], np.int64, "ids")
    rows = ops.gather(ops.constant(TABLE), ids, ops.constant(0))
    left = ops.matmul(rows, ops.constant(LEFT), False, False)
    right = ops.matmul(rows, ops.convert(ops.constant(RIGHT.astype(np.float16)), "f32"), False, False)
    both = ops.relu(ops.multiply(left, right))
    return ov.Model([ops.matmul(both, ops.constant(OUT), False, True)], [ids], "toy")


def batches(seed: int) -> list[tuple[np.ndarray]]:
    """Return inputs in which every row of the table is there, with practical certainty."""
    random = np.random.default_rng(seed)
    return [(random.integers(0, 40, (3, 7)),) for _ in range(30)]


def run(model: Any, inputs: list[tuple[np.ndarray]]) -> np.ndarray:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([np.array(compiled(each)[0]).reshape(-1, 8) for each in inputs])


def types(model: Any) -> list[str]:
    return [op.get_type_name() for op in model.get_ordered_ops()]


def test_every_linear_layer_and_embedding_has_8_bit_weights() -> None:
    model = graph()
    before = types(model)
    made = openvino_int8.quantized(ov.Core(), model, batches(0))
    assert types(model) == before  # the float graph is left alone
    constants = [op for op in made.get_ordered_ops() if op.get_type_name() == "Constant"]
    integers = [
        list(op.get_output_shape(0)) for op in constants if str(op.get_element_type()) == "<Type: 'int8_t'>"
    ]
    assert sorted(integers) == [[8, 24], [24, 16], [24, 16], [40, 16]]
    largest = max(np.prod(op.get_output_shape(0)) for op in constants if op.get_element_type().is_real())
    assert largest == 40  # the scales of the embedding's rows
    # What two layers read is quantized once.
    assert types(made).count("FakeQuantize") == 2
    assert types(made).count("MatMul") == 3
    assert [tuple(each.get_partial_shape()) for each in made.outputs] == [
        tuple(each.get_partial_shape()) for each in model.outputs
    ]


@pytest.mark.skipif(not cpu_features().has_int8, reason="8-bit sums overflow here, and int8 is not offered")
def test_the_answers_stay_close_on_inputs_that_were_not_calibrated_on() -> None:
    model, others = graph(), batches(1)
    expected, found = run(model, others), run(openvino_int8.quantized(ov.Core(), model, batches(0)), others)
    cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.mean() > 0.999
    # Outputs near 0 have little direction: their error is compared with the usual length.
    assert np.linalg.norm(found - expected, axis=1).max() < 0.05 * np.linalg.norm(expected, axis=1).mean()
    assert not np.array_equal(expected, found)


@settings(deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_a_range_keeps_its_ends_to_half_a_step_and_zero_is_a_level(one: float, other: float) -> None:
    low, high = min(one, other, 0.0), max(one, other, 0.0)
    start, end = openvino_int8._whole_steps(min(one, other), max(one, other))
    step = (end - start) / 255
    assert step == pytest.approx(max(high - low, 1e-5) / 255, rel=1e-6, abs=1e-7)
    assert abs(start - low) <= 0.501 * step
    assert abs(end - high) <= 0.501 * step + 1e-5
    assert start <= 0 <= end
    assert start / step == pytest.approx(round(start / step), abs=1e-6)


def test_weights_are_at_most_half_a_step_off_and_rows_of_zeros_stay() -> None:
    matrix = np.concatenate([OUT, np.zeros((1, 24), np.float32), np.full((1, 24), 1e-30, np.float32)])
    model = ov.Model([openvino_int8._integers(matrix)], [], "weights")
    found = np.array(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([])[0])
    steps = np.abs(matrix).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - matrix) <= steps * 0.5001 + 1e-37).all()


def test_a_channel_that_was_quiet_in_calibration_is_not_made_loud() -> None:
    layer = openvino_int8._Layer(None, [])
    activations = RANDOM.normal(size=(50, 20)).astype(np.float32)
    activations[:, 3] *= 1e-4
    layer.see(activations)
    scale = openvino_int8._smoothing(layer, np.ones(20, np.float32))
    assert scale[3] == pytest.approx(np.quantile(np.sort(np.delete(scale, 3)), 0.1), rel=0.1)
    assert scale.argmax() == np.abs(activations).max(axis=0).argmax()


_WITHOUT_NNCF = """
import sys
sys.modules["nncf"] = None  # makes its import fail
import numpy as np
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.schema.config import CpuConfig
from aios_db.schema.config import EngineConfig
texts = [line.strip() for line in open(sys.argv[1], encoding="utf-8") if len(line.split()) > 3][:40]
def vectors(cpu):
    engine = ArrowEngine("minilm", engine=EngineConfig(), cpu=cpu)
    choice = engine.tune()
    return (choice.backend, choice.precision), engine.encode(texts)
expected = vectors(CpuConfig(backend="standard", precision="fp32"))[1]
choice, found = vectors(CpuConfig(backend="openvino", precision="int8"))
cosine = (expected * found).sum(axis=1)
print(choice, len(texts), bool(cosine.mean() > 0.996), bool(cosine.min() > 0.985))
"""


@pytest.mark.slow
def test_minilm_runs_in_int8_without_nncf(tmp_path: Path) -> None:
    if not cpu_features().has_int8:
        pytest.skip("this CPU has no 8-bit dot products")
    try:
        find_model("minilm", EngineConfig().models_dir)
    except ModelNotFoundError as error:
        pytest.skip(str(error))
    docs = Path(__file__).parents[2] / "docs" / "sql.md"
    script = [sys.executable, "-c", _WITHOUT_NNCF, str(docs)]
    result = subprocess.run(script, capture_output=True, text=True, check=False, timeout=300)
    assert result.stdout == "('openvino', 'int8') 40 True True\n", result.stderr
