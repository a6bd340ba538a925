"""Layers that stay FP16, and zero points of 8-bit layers: in the file, the answers and the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.engine.backends.sample import sample_sentences
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.catalog.report import load_report
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.rounding import Grid, quantize, quantize_in_8_bits
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import QuantizationConfig
from aios_db.schema.errors import ProgrammingError

INT8 = QuantizationConfig(target="int8", method="ptq", distillation_steps=0, calibration_tokens=1_000)
INT2 = QuantizationConfig(
    target="int2", method="ptq", distillation_steps=0, max_bits=3.5, calibration_tokens=8_000
)


def cosine(original: Path, quantized: Path, texts: list[str]) -> float:
    vectors = [ArrowEngine(Candidate(directory)).encode(texts) for directory in (original, quantized)]
    return float((vectors[0] * vectors[1]).sum(1).mean())


def types(path: Path) -> dict[str, str]:
    return {name: info.quant_type for name, info in WeightFile(path / "weights.parquet").layers.items()}


@given(st.integers(0, 2**32 - 1), st.floats(-1, 1))
@settings(deadline=None, max_examples=30)
def test_zero_points_are_taken_only_where_they_lower_the_error(seed: int, shift: float) -> None:
    weight = torch.randn(7, 33, generator=torch.Generator().manual_seed(seed)) + shift
    chosen = quantize_in_8_bits(weight, zero_points=True)
    errors = {
        symmetric: float(
            (quantize(weight, Grid(8, symmetric=symmetric)).dequantize() - weight).square().sum()
        )
        for symmetric in (True, False)
    }
    assert float((chosen.dequantize() - weight).square().sum()) == min(errors.values())
    assert chosen.grid.symmetric is (errors[True] <= errors[False])
    assert quantize_in_8_bits(weight).grid.symmetric
    stored = chosen.to_layer("w")
    assert (stored.zero_points is None) is chosen.grid.symmetric


def test_a_layer_stays_fp16(
    tiny_bert: Path, tmp_path: Path, texts: list[str], unseen_texts: list[str]
) -> None:
    plain = quantize_model(tiny_bert, tmp_path / "plain", calibration=texts, config=INT2)
    config = dataclasses.replace(INT2, keep_fp16="layer.1.output, attention.self.value")
    report = quantize_model(tiny_bert, tmp_path / "kept", calibration=texts, config=config)
    stored = types(tmp_path / "kept")
    kept = {name for name in stored if "layer.1.output.dense.weight" in name or "self.value.weight" in name}
    assert len(kept) > 1
    assert {stored[name] for name in kept} == {"fp16"}
    before, after = WeightFile(tiny_bert / "weights.parquet"), WeightFile(tmp_path / "kept/weights.parquet")
    for name in kept:
        assert np.array_equal(after.array(name), before.array(name).astype(np.float16))
    assert {layer.name for layer in report.layers if layer.is_linear} == {
        layer.name for layer in plain.layers if layer.is_linear
    }
    assert report.bits_linear > plain.bits_linear
    assert cosine(tiny_bert, tmp_path / "kept", unseen_texts) > cosine(
        tiny_bert, tmp_path / "plain", unseen_texts
    )
    report_of = load_report(tmp_path / "kept")
    assert report_of is not None
    assert report_of.vectors is not None


@pytest.mark.parametrize("target", ["int8", "int2"])
def test_the_most_sensitive_layers_stay_fp16(
    tiny_bert: Path, tmp_path: Path, texts: list[str], target: str
) -> None:
    config = dataclasses.replace(INT2, target=target, fp16_layers=2)  # type: ignore[arg-type]
    report = quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=config)
    sensitivity = report.recipe["sensitivity"]
    expected = {f"{name}.weight" for name in sorted(sensitivity, key=sensitivity.__getitem__)[-2:]}
    floats = {each.name for each in report.layers if each.is_linear and each.quant_type == "fp16"}
    assert floats == expected
    ArrowEngine(Candidate(tmp_path / "q")).encode(["a text"])


@pytest.mark.parametrize("setting", ["keep_fp16", "keep_int8"])
def test_a_name_that_no_layer_has_is_refused(
    tiny_bert: Path, tmp_path: Path, texts: list[str], setting: str
) -> None:
    config = dataclasses.replace(INT2, **{setting: "layer.0, layer.77"})  # type: ignore[arg-type]
    with pytest.raises(ProgrammingError, match=rf"{setting}: 'layer\.77' is in no layer's name; there are "):
        quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=config)
    with pytest.raises(ProgrammingError, match="leave no layer to quantize"):
        quantize_model(
            tiny_bert, tmp_path / "q", calibration=texts, config=dataclasses.replace(INT2, keep_fp16="layer")
        )
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize("method", ["ptq", "gptq"])
def test_zero_points_in_8_bits_are_closer(
    tiny_bert: Path, tmp_path: Path, texts: list[str], method: str
) -> None:
    reports = {}
    for zero_points in (False, True):
        config = dataclasses.replace(INT8, method=method, int8_zero_points=zero_points)  # type: ignore[arg-type]
        reports[zero_points] = quantize_model(
            tiny_bert, tmp_path / f"{zero_points}", calibration=texts, config=config
        )
    errors = {key: sum(layer.error for layer in report.layers) for key, report in reports.items()}
    assert errors[True] < errors[False]
    file = WeightFile(tmp_path / "True/weights.parquet")
    quantized = [name for name, info in file.layers.items() if info.is_quantized]
    assert any(file.raw(name).zero_points.size for name in quantized)  # type: ignore[union-attr]
    file.verify()


def test_minilm_with_fp16_layers_and_zero_points(minilm_dir: Path, tmp_path: Path) -> None:
    calibration, unseen = sample_sentences()
    configs = {
        "int8": INT8,
        "zero points": dataclasses.replace(INT8, int8_zero_points=True),
        "fp16": dataclasses.replace(INT8, keep_fp16="layer.0.,layer.5.output"),
    }
    sizes, cosines, errors = {}, {}, {}
    for name, config in configs.items():
        report = quantize_model(minilm_dir, tmp_path / name, calibration=calibration * 3, config=config)
        sizes[name] = report.file_bytes
        linear = [each for each in report.layers if each.is_linear]
        errors[name] = sum(each.error for each in linear) / len(linear)
        cosines[name] = cosine(minilm_dir, tmp_path / name, unseen)
        ArrowEngine(tmp_path / name).encode(unseen[:1])  # past the gate
    assert sizes["int8"] < sizes["zero points"] < 1.01 * sizes["int8"]
    added = sum(
        info.num_params
        for name, info in WeightFile(tmp_path / "fp16/weights.parquet").layers.items()
        if info.quant_type == "fp16" and len(info.shape) == 2 and "encoder" in name
    )
    assert 0.95 * added < sizes["fp16"] - sizes["int8"] < 1.05 * added
    assert errors["zero points"] < errors["int8"]
    assert errors["fp16"] < errors["int8"]
    assert all(value > 0.99 for value in cosines.values())
