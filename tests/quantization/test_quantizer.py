from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization import job
from aios_db.engine.quantization.layers import quantize_layers
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.report import QuantizationReport
from aios_db.engine.quantization.subject import Batch
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import QuantizationConfig
from aios_db.schema.errors import DataError, NotSupportedError, OperationalError, WeightsError

INT2 = QuantizationConfig(
    target="int2",
    method="gptq",
    group_size=0,
    calibration_tokens=8_000,
    distillation_steps=0,
    distillation_tokens=256,
    learning_rate=0.01,
)
STEPS = 80


def cosine(original: Path, quantized: Path, texts: list[str]) -> float:
    vectors = [ArrowEngine(Candidate(directory)).encode(texts) for directory in (original, quantized)]
    return float((vectors[0] * vectors[1]).sum(1).mean())


@pytest.mark.parametrize("method", ["ptq", "gptq", "full"])
def test_int8_is_nearly_lossless(
    tiny_bert: Path, tmp_path: Path, texts: list[str], unseen_texts: list[str], method: str
) -> None:
    config = dataclasses.replace(INT2, target="int8", method=method)
    report = quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=config)
    assert cosine(tiny_bert, tmp_path / "q", unseen_texts) > 0.999
    assert 8 < report.bits_linear < 9.1
    assert report.int2_share == 0


def test_each_method_improves_on_the_one_before(
    tiny_bert: Path, tmp_path: Path, texts: list[str], unseen_texts: list[str]
) -> None:
    reached = []
    for method in ("ptq", "gptq", "full"):
        steps = STEPS if method == "full" else 0
        config = dataclasses.replace(INT2, method=method, distillation_steps=steps, mixed_precision=False)
        report = quantize_model(tiny_bert, tmp_path / method, calibration=texts, config=config)
        assert report.int2_share == 1
        reached.append(cosine(tiny_bert, tmp_path / method, unseen_texts))
    assert reached[0] < reached[1] < reached[2]
    assert reached[0] > 0.96
    assert reached[1] > 0.985


def test_report_and_files(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    seen: list[tuple[str, int, int]] = []
    config = dataclasses.replace(INT2, max_bits=6.0, keep_int8="layer.1.output")
    report = quantize_model(
        tiny_bert, tmp_path / "q", calibration=texts, config=config, progress=lambda *step: seen.append(step)
    )
    kinds = {layer.name: layer.quant_type for layer in report.layers}
    assert kinds["encoder.layer.1.output.dense.weight"] == "int8"
    assert 0 < report.int2_share < 1
    assert report.bits_linear <= 6.0
    assert seen[0] == ("measuring sensitivity", 1, 12)
    assert seen[-1] == ("GPTQ", 12, 12)
    file = WeightFile(tmp_path / "q" / "weights.parquet")
    assert file.version == 2
    assert list(file.layers) == list(WeightFile(tiny_bert / "weights.parquet").layers)
    assert {name: info.quant_type for name, info in file.layers.items()} == kinds
    for layer in report.layers:
        original = WeightFile(tiny_bert / "weights.parquet").array(layer.name)
        error = np.square(file.array(layer.name) - original).sum() / np.square(original).sum()
        assert layer.error == pytest.approx(error, rel=1e-3, abs=1e-9)
    metadata = json.loads((tmp_path / "q" / "metadata.json").read_text())
    assert metadata["model_info"] == json.loads((tiny_bert / "metadata.json").read_text())["model_info"]
    assert metadata["quantization"]["bits_linear"] == report.bits_linear
    assert metadata["quantization"]["recipe"]["sensitivity"].keys() == quantized_linears(report)
    assert (tmp_path / "q" / "tokenizer" / "tokenizer.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q"]


def quantized_linears(report: QuantizationReport) -> set[str]:
    return {layer.name.removesuffix(".weight") for layer in report.layers if layer.is_linear}


class Killed(Exception):
    pass


RUN = dataclasses.replace(INT2, method="full", distillation_steps=30, max_bits=4.0)


@pytest.fixture(scope="module")
def of_one_run(tiny_bert: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of the weights that a run makes that nothing stops."""
    target = tmp_path_factory.mktemp("whole") / "q"
    quantize_model(tiny_bert, target, calibration=texts, config=RUN)
    return WeightFile(target / "weights.parquet").content_sha256


@pytest.mark.parametrize(
    "stop",
    [
        ("measuring sensitivity", 4), ("measuring sensitivity", 12), ("GPTQ", 3), ("GPTQ", 9),
        ("distilling", 5), ("distilling", 25),
    ],
)  # fmt: skip
def test_a_killed_run_continues_to_the_same_result(
    tiny_bert: Path,
    tmp_path: Path,
    texts: list[str],
    *,
    of_one_run: str,
    stop: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aios_db.engine.quantization.steps.SAVE_EVERY", 10)
    steps: list[tuple[str, int]] = []

    def kill(what: str, done: int, total: int) -> None:
        if (what, done) == stop:
            raise Killed

    with pytest.raises(Killed):
        quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=RUN, progress=kill)
    assert not (tmp_path / "q").exists()
    if stop == ("GPTQ", 9):
        kept = torch.load(tmp_path / ".q.quantizing" / "state.pt", weights_only=True)
        assert len(kept["layers"]) == 6
        assert all(each.dim() == 1 for each in kept["model"].values())  # no second copy of the weights
    quantize_model(
        tiny_bert, tmp_path / "q", calibration=texts, config=RUN,
        progress=lambda what, done, total: steps.append((what, done)),
    )  # fmt: skip
    first = {
        "measuring sensitivity": ("measuring sensitivity", 7 if stop[1] == 12 else 1),
        "GPTQ": ("GPTQ", 7 if stop[1] == 9 else 1),
        "distilling": ("distilling", 21 if stop[1] == 25 else 1),
    }
    assert steps[0] == first[stop[0]]
    assert WeightFile(tmp_path / "q" / "weights.parquet").content_sha256 == of_one_run


def test_a_checkpoint_of_other_texts_is_not_used(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    def kill(what: str, done: int, total: int) -> None:
        if what == "GPTQ":
            raise Killed

    with pytest.raises(Killed):
        quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=INT2, progress=kill)
    seen: list[str] = []
    quantize_model(
        tiny_bert, tmp_path / "q", calibration=texts[len(texts) // 2 :], config=INT2,
        progress=lambda what, done, total: seen.append(what),
    )  # fmt: skip
    assert seen[0] == "measuring sensitivity"


def test_sensitivity_that_is_given_is_not_measured_and_decides(
    tiny_bert: Path, tmp_path: Path, texts: list[str]
) -> None:
    first = quantize_model(tiny_bert, tmp_path / "a", calibration=texts, config=INT2)
    measured = first.recipe["sensitivity"]
    seen: list[str] = []
    for name, given in (
        ("b", measured),
        ("c", {layer: float("layer.0" in layer) for layer in measured}),
    ):
        report = quantize_model(
            tiny_bert, tmp_path / name, calibration=texts, config=INT2, sensitivity=given,
            progress=lambda what, done, total: seen.append(what),
        )  # fmt: skip
        assert report.recipe["sensitivity"] == given
    assert "measuring sensitivity" not in seen
    same, other = (WeightFile(tmp_path / name / "weights.parquet") for name in ("b", "c"))
    assert same.content_sha256 == WeightFile(tmp_path / "a" / "weights.parquet").content_sha256
    # Of the layers said to matter, the attention's are the cheapest.
    first_attention = [name for name in measured if "layer.0.attention" in name]
    assert len(first_attention) == 4
    assert {other.layers[f"{name}.weight"].quant_type for name in first_attention} == {"int8"}
    assert other.layers["encoder.layer.1.output.dense.weight"].quant_type == "int2"


def test_rounding_looks_at_fewer_tokens_than_gptq(
    tiny_bert: Path, tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH_TOKENS", 64)
    monkeypatch.setitem(job._ROUNDING_TOKENS, "int2", 200)
    seen: list[int] = []

    def counted(reference: nn.Module, model: nn.Module, batches: list[Batch], **rest: Any) -> Any:
        seen.append(sum(batch.positions for batch in batches))
        return quantize_layers(reference, model, batches, **rest)

    monkeypatch.setattr("aios_db.engine.quantization.steps.quantize_layers", counted)
    for method in ("ptq", "gptq"):
        config = dataclasses.replace(INT2, method=method, mixed_precision=False, calibration_tokens=500)
        quantize_model(tiny_bert, tmp_path / method, calibration=texts, config=config)
    assert 200 <= seen[0] < 264 and 500 <= seen[1] < 564


def test_a_damaged_checkpoint_is_not_used(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / ".q.quantizing").mkdir()
    (tmp_path / ".q.quantizing" / "state.pt").write_bytes(b"no checkpoint")
    assert quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=INT2).bits_linear <= 5.5


def test_refusals(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(OperationalError, match="exists"):
        quantize_model(tiny_bert, tmp_path, calibration=texts)
    with pytest.raises(DataError, match="calibration texts"):
        quantize_model(tiny_bert, tmp_path / "q", calibration=[])
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "weights.parquet").write_bytes((tiny_bert / "weights.parquet").read_bytes())
    with pytest.raises(NotSupportedError, match="tokenizer"):
        quantize_model(bare, tmp_path / "q", calibration=texts)


def test_any_flipped_byte_is_caught_or_harmless(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    quantize_model(
        tiny_bert, tmp_path / "q", calibration=texts, config=dataclasses.replace(INT2, method="ptq")
    )
    path = tmp_path / "q" / "weights.parquet"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    caught = 0
    for position in [*rng.integers(0, len(good), 150), *range(len(good) - 40, len(good))]:
        damaged = bytearray(good)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            file = WeightFile(path)
            for name in file.layers:
                assert np.isfinite(file.array(name)).all()
        except WeightsError:
            caught += 1
    assert caught > 20
