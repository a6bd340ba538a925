from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aios_db.engine.architectures import integer_layers
from aios_db.engine.architectures.integer_layers import IntegerEmbedding, IntegerLinear, use_integers
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.rounding import Grid, quantize
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.config import CpuConfig, QuantizationConfig

FLOAT = CpuConfig(backend="standard", precision="fp32")


class Sample(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 30)
        self.project = nn.Linear(30, 7)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.project(self.table(tokens))


def stored(path: Path, linear: Grid, table: Grid, compression: str = "none") -> WeightFile:
    torch.manual_seed(1)
    model = Sample()
    grids = {"project.weight": linear, "table.weight": table}
    layers = [
        quantize(parameter.detach(), grids.get(name, Grid(8, -1))).to_layer(name)
        for name, parameter in model.named_parameters()
    ]
    write_weights(path, layers, version=2, compression=compression)
    return WeightFile(path)


@pytest.mark.parametrize("table", [Grid(8), Grid(8, symmetric=True), Grid(8, -1)], ids=str)
@pytest.mark.parametrize(
    "linear",
    [
        Grid(8, symmetric=True),
        Grid(8),
        Grid(8, -1),
        Grid(8, 16),
        Grid(8, 15),
        Grid(2),
        Grid(2, 8),
        Grid(2, 10),
        Grid(2, planes=(0, 1, 6, 0, 3, 2, 0)),
        Grid(2, 10, planes=(0, 1, 6, 0, 3, 2, 0)),
    ],
    ids=str,
)
def test_integers_give_what_floats_give(tmp_path: Path, linear: Grid, table: Grid) -> None:
    file = stored(tmp_path / "w.parquet", linear, table)
    tokens = torch.arange(11).view(1, 11)
    outputs = []
    for integers in (False, True):
        with torch.device("meta"):
            model = Sample()
        if integers:
            assert use_integers(model, file, vocabulary=11) == 1
            assert isinstance(model.table, IntegerEmbedding)
            assert isinstance(model.project, IntegerLinear)
        lazy = LazyModel(model, file)
        with torch.inference_mode():
            outputs.append(lazy.model(tokens))
    assert outputs[1].shape == (1, 11, 7)
    assert (outputs[0] - outputs[1]).norm() < 0.02 * outputs[0].norm()


@pytest.mark.parametrize("grid", [Grid(2), Grid(2, -1), Grid(2, planes=(0, 1, 6, 0, 3, 2, 0))], ids=str)
def test_neither_zero_points_nor_the_mean_of_inputs_cost_digits(tmp_path: Path, grid: Grid) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(1000, 7)
    linear.weight.data += 0.05  # all of them positive: zero points lie outside of the integers
    rounded = quantize(linear.weight.detach(), grid, searched=True)
    layers = [rounded.to_layer("0.weight"), quantize(linear.bias.detach(), Grid(8)).to_layer("0.bias")]
    write_weights(tmp_path / "w.parquet", layers, version=2)
    file = WeightFile(tmp_path / "w.parquet")
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(1000, 7))
    use_integers(model, file)
    lazy = LazyModel(model, file)
    inputs = torch.rand(64, 1000) + 2
    exact = (inputs.double() - inputs.double().mean(1, keepdim=True)) @ rounded.dequantize().double().T
    with torch.inference_mode():
        outputs = [lazy.model(inputs), lazy.model(inputs.mean(1, keepdim=True).expand(-1, 1000))]
    error = (outputs[0] - outputs[1] - exact).norm() / exact.norm()
    assert error < 0.01


def test_scales_by_group_are_not_spread_over_the_weights(tmp_path: Path) -> None:
    file = stored(tmp_path / "w.parquet", Grid(2, 10), Grid(8))
    with torch.device("meta"):
        model = Sample()
    use_integers(model, file, vocabulary=11)
    LazyModel(model, file).model(torch.arange(11).view(1, 11))
    assert isinstance(model.project, IntegerLinear)
    assert model.project._scale.shape == model.project._zero_point.shape == (7 * 3, 1)


def test_compressed_files_and_release(tmp_path: Path) -> None:
    file = stored(tmp_path / "w.parquet", Grid(2), Grid(8), compression="zstd")
    with torch.device("meta"):
        model = Sample()
    use_integers(model, file, vocabulary=11)
    lazy = LazyModel(model, file)
    before = lazy.model(torch.tensor([3]))
    lazy.release()
    assert model.project.weight.is_meta
    assert torch.equal(lazy.model(torch.tensor([3])), before)


def test_a_changed_input_is_rounded_again() -> None:
    layer = integer_layers._rounded_rows(torch.ones(2, 3))[0]
    assert layer.tolist() == [[127] * 3] * 2
    assert integer_layers._rounded_rows(torch.full((2, 3), -2.0))[0].tolist() == [[-127] * 3] * 2


@pytest.fixture
def quantized(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> Callable[[str], Path]:
    def make(target: str) -> Path:
        config = QuantizationConfig(
            target=target, method="gptq", distillation_steps=0, calibration_tokens=8_000
        )
        quantize_model(tiny_bert, tmp_path / target, calibration=texts, config=config)
        return tmp_path / target

    return make


@pytest.mark.parametrize(("target", "least"), [("int8", 0.995), ("int2", 0.99)])
def test_engine_computes_from_the_stored_integers(
    quantized: Callable[[str], Path],
    unseen_texts: list[str],
    target: str,
    least: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = quantized(target)
    floats = ArrowEngine(Candidate(directory), cpu=FLOAT).encode(unseen_texts)
    with caplog.at_level(logging.INFO, "aios_db.engine.quantization"):
        engine = ArrowEngine(Candidate(directory))
        integers = engine.encode(unseen_texts)
    assert "12 quantized layers" in caplog.text
    assert (floats * integers).sum(1).min() > least
    copied = {layer.name: layer.copied for layer in engine.memory_report().layers}
    assert copied["encoder.layer.0.output.dense.weight"] == 0


def test_without_fast_products_weights_are_unpacked_with_a_warning(
    quantized: Callable[[str], Path],
    unseen_texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = quantized("int8")
    plain = dataclasses.replace(integer_layers.cpu_features(), names=frozenset())
    monkeypatch.setattr(integer_layers, "cpu_features", lambda: plain)
    vectors = ArrowEngine(Candidate(directory)).encode(unseen_texts)
    assert "unpacked" in caplog.text
    expected = ArrowEngine(Candidate(directory), cpu=FLOAT).encode(unseen_texts)
    assert np.allclose(vectors, expected, atol=1e-4)
