"""Rows of 2-bit layers that have more bits: which, what they cost, and that every path reads them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import aios_db
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization.allocation import rows_with_planes
from aios_db.engine.quantization.gptq import GptqSettings, solve
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.rounding import Grid, quantize
from aios_db.engine.quantization.row_sensitivity import row_sensitivities
from aios_db.engine.quantization.subject import Batch, block_linears, divergence, load_model
from aios_db.engine.quantization.trainable import GridLinear
from aios_db.engine.quantization.training_texts import TrainingTexts
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.quantized import dequantize
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.config import CpuConfig, QuantizationConfig
from aios_db.schema.errors import ProgrammingError, WeightsError

BY_ROW = QuantizationConfig(
    target="int2", method="gptq", group_size=0, mixed_by="row", max_bits=5.0, distillation_steps=0,
    calibration_tokens=8_000,
)  # fmt: skip
FLOAT = CpuConfig(backend="standard", precision="fp32")
PLANES = st.lists(st.integers(0, 6), min_size=1, max_size=7).map(tuple)


@settings(max_examples=100)
@given(PLANES, st.integers(1, 13), st.integers(0, 5), st.booleans(), st.integers(0, 2**32 - 1))
def test_stored_rows_are_the_rounded_ones_at_most_half_a_step_off(
    planes: tuple[int, ...], columns: int, group: int, symmetric: bool, seed: int
) -> None:
    weight = torch.randn(len(planes), columns, generator=torch.Generator().manual_seed(seed))
    grid = Grid(2, group, symmetric, planes)
    quantized = quantize(weight, grid)
    layer = quantized.to_layer("w")
    assert quantized.bits == 8 * layer.nbytes
    restored = dequantize(
        layer.data, "int2", layer.scales, layer.zero_points, layer.info.shape, group, layer.info.quant_axis
    )
    assert np.allclose(restored, quantized.dequantize().numpy(), rtol=1e-5, atol=1e-5)
    step = grid.unblock(quantized.scale.expand_as(quantized.codes).contiguous(), quantized.shape)
    assert ((quantized.dequantize() - weight).abs() <= step / 2 + 1e-4).all()


def test_each_plane_leaves_a_third_of_the_error() -> None:
    weight = torch.randn(4 * 50, 384, generator=torch.Generator().manual_seed(0))
    rounded = quantize(weight, Grid(2, planes=(0, 1, 2, 3) * 50), searched=True).dequantize()
    error = (rounded - weight).square().mean(1).view(50, 4).mean(0)
    assert ((error[1:] / error[:-1]) < 0.4).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 0, False, (1,)), "only rows of 2 bits"),
        ((2, -1, False, (1,)), "only rows"),
        ((2, 0, False, (7,)), "0 to 6"),
    ],
)
def test_impossible_planes_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        Grid(*arguments)


def test_planes_go_where_a_bit_gains_most_and_keep_to_the_budget() -> None:
    shapes = {"narrow": (6, 10), "wide": (4, 40), "kept": (3, 10)}
    sensitivity = {"narrow": torch.tensor([9.0, 1e-9, 1, 1, 1, 500]), "wide": torch.tensor([30.0, 1, 1, 1])}
    grids = {"narrow": Grid(2), "wide": Grid(2), "kept": Grid(8, symmetric=True)}

    def chosen(max_bits: float, min_int2: float = 0.0) -> dict[str, Grid]:
        found = rows_with_planes(sensitivity, shapes, grids, max_bits=max_bits, min_int2=min_int2)
        assert found["kept"] == grids["kept"]
        return found

    for max_bits in (6.5, 7.0, 8.0, 20.0):
        found = chosen(max_bits)
        assert sum(grid.stored_bits(shapes[name]) for name, grid in found.items()) <= 250 * max_bits
    assert chosen(2.0) == grids
    planes = chosen(6.5)["narrow"].planes
    assert planes[5] == max(planes) > planes[0] >= planes[2] and planes[1] == 0
    assert set(chosen(20.0)["narrow"].planes) == set(chosen(20.0)["wide"].planes) == {6}
    few = chosen(20.0, 0.5)  # at most 110 of the 220 weights
    assert few["narrow"].planes == (6, 0, 6, 6, 6, 6) and few["wide"].planes == (6, 0, 0, 0)
    assert chosen(20.0, 1.0) == grids
    with_none = {"kept": grids["kept"]}
    assert rows_with_planes({}, shapes, with_none, max_bits=3.0, min_int2=0.5) == with_none


def test_one_scale_for_a_tensor_leaves_no_rows_to_choose_from(caplog: pytest.LogCaptureFixture) -> None:
    grids = {"a": Grid(2, -1)}
    assert rows_with_planes({"a": torch.ones(3)}, {"a": (3, 4)}, grids, max_bits=8.0, min_int2=0.0) == grids
    assert "no scales of their own" in caplog.text


def mean_input(model: nn.Module, linear: nn.Module, batches: list[Batch]) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for batch in batches:
            model(*batch.arguments)
    hook.remove()
    return torch.cat([batch.rows(x) for batch, x in zip(batches, seen, strict=True)]).mean(0)


def test_sensitivities_are_what_rounding_does(tiny_bert: Path, texts: list[str]) -> None:
    directory = ModelDirectory.open(tiny_bert)
    model = load_model(directory, WeightFile(directory.weights))
    linears = block_linears(model)
    assert directory.tokenizer is not None
    made = TrainingTexts(directory.tokenizer, texts, causal=False, tokens=1024, seed=0)
    batches = [made[number] for number in range(8)]
    rounds: list[int] = []
    rows = row_sensitivities(
        model, linears, batches, Grid(2), language_model=False, seed=0, done=rounds.append
    )
    assert rounds == list(range(1, 17))
    predicted, measured = [], []
    for name, linear in linears.items():
        weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
        with torch.no_grad():
            still = [model(*batch.arguments) for batch in batches]
        mean = mean_input(model, linear, batches)
        order = rows[name].argsort()
        for part in (order[: len(order) // 2], order[len(order) // 2 :]):
            rounded = weight.clone()
            rounded[part] = quantize(weight, Grid(2), searched=True).dequantize()[part]
            linear.weight.data = rounded
            linear.bias.data = bias + (weight - rounded) @ mean
            with torch.no_grad():
                moved = [model(*batch.arguments) for batch in batches]
            linear.weight.data, linear.bias.data = weight, bias
            shifts = [
                float(divergence(batch, a, b, language_model=False))
                for batch, a, b in zip(batches, still, moved, strict=True)
            ]
            predicted.append(float(rows[name][part].sum()))
            measured.append(sum(shifts) / len(shifts))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert np.corrcoef(np.log(predicted), np.log(measured))[0, 1] > 0.85
    assert 0.4 < sum(predicted) / sum(measured) < 2.5


def test_gptq_keeps_to_each_rows_grid() -> None:
    torch.manual_seed(0)
    weight, inputs = torch.randn(6, 64), torch.randn(400, 64) @ torch.randn(64, 64)
    hessian = inputs.T @ inputs / 400
    planes = (0, 1, 2, 3, 0, 1)
    solved = solve(weight, hessian, Grid(2, planes=planes), GptqSettings())
    for row, count in enumerate(planes):
        assert -2 * 2**count <= solved.codes[row].min() and solved.codes[row].max() < 2 * 2**count
    error = solved.dequantize() - weight
    by_row = ((error @ hessian) * error).sum(1)
    rounded = quantize(weight, solved.grid, searched=True).dequantize() - weight
    assert (by_row < ((rounded @ hessian) * rounded).sum(1)).all()


def test_a_refined_row_chooses_between_neighbouring_fine_steps() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(40, 3)
    weight = linear.weight.detach()
    rounded = quantize(weight, Grid(2, planes=(0, 2, 4)), searched=True)
    on_grid = GridLinear(linear, rounded, dtype=torch.float32)
    on_grid.loosen(weight, 0.5)
    assert torch.equal(on_grid.quantized().codes, rounded.codes)
    assert on_grid.logits is not None
    reached = []
    for sign in (-1, 1):
        with torch.no_grad():
            on_grid.logits.fill_(sign)
        reached.append(on_grid.quantized().dequantize())
    low, high = reached
    steps = rounded.scale.view(3, 1).expand(3, 40)
    torch.testing.assert_close(high - low, steps)
    inside = (weight > rounded.dequantize().amin(1, keepdim=True)) & (
        weight < rounded.dequantize().amax(1, keepdim=True)
    )
    assert inside.float().mean() > 0.7
    assert ((low <= weight + 1e-6) & (weight <= high + 1e-6))[inside].all()


def test_rows_without_scales_of_their_own_are_refused_at_once(
    tiny_bert: Path, texts: list[str], tmp_path: Path
) -> None:
    seen: list[str] = []
    config = replace(BY_ROW, group_size=-1)
    with pytest.raises(ProgrammingError, match="group_size -1"):
        quantize_model(
            tiny_bert, tmp_path / "q", calibration=texts, config=config,
            progress=lambda what, *_: seen.append(what),
        )  # fmt: skip
    assert seen == [] and not (tmp_path / ".q.quantizing").exists()


@pytest.fixture(scope="module")
def by_row(tiny_bert: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("models") / "tiny-int2"
    report = quantize_model(tiny_bert, target, calibration=texts, config=BY_ROW)
    assert report.bits_linear <= 5.0 and 0.5 <= report.int2_share < 0.9
    assert {layer.quant_type for layer in report.layers if layer.is_linear} == {"int2"}
    assert report.recipe["sensitivity"].keys() == {
        layer.name.removesuffix(".weight") for layer in report.layers if layer.is_linear
    }
    return target


def test_every_path_reads_the_planes(by_row: Path, unseen_texts: list[str]) -> None:
    integers, floats = (
        ArrowEngine(Candidate(by_row), cpu=cpu).encode(unseen_texts) for cpu in (CpuConfig(), FLOAT)
    )
    assert (integers * floats).sum(1).min() > 0.99
    file = WeightFile(by_row / "weights.parquet")
    name = "encoder.layer.0.intermediate.dense.weight"
    assert file.stored_bytes(name) == file.raw(name).data.size > file.layers[name].nbytes
    with aios_db.connect() as con:
        query = (
            "SELECT dequantize(data, quant_type, scales, zero_points, shape, group_size) "
            "FROM read_parquet(?) WHERE layer_name = ?"
        )
        (values,) = con.execute(query, [str(by_row / "weights.parquet"), name]).fetchone()
    assert np.allclose(values, file.array(name).reshape(-1), rtol=1e-6)


def test_rows_are_a_better_use_of_bits_than_layers(
    tiny_bert: Path, texts: list[str], unseen_texts: list[str], tmp_path: Path, by_row: Path
) -> None:
    layers = replace(BY_ROW, mixed_by="layer")
    quantize_model(tiny_bert, tmp_path / "layers", calibration=texts, config=layers)
    original = ArrowEngine(tiny_bert, cpu=FLOAT).encode(unseen_texts)
    rows, whole = (
        (ArrowEngine(Candidate(path), cpu=FLOAT).encode(unseen_texts) * original).sum(1).mean()
        for path in (by_row, tmp_path / "layers")
    )
    assert 1 - rows < 0.8 * (1 - whole)


class Killed(Exception):
    pass


RUN = replace(BY_ROW, distillation_steps=20, distillation_tokens=256)


@pytest.fixture(scope="module")
def of_one_run(tiny_bert: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of the weights that a run makes that nothing stops."""
    target = tmp_path_factory.mktemp("whole") / "q"
    quantize_model(tiny_bert, target, calibration=texts, config=RUN)
    return WeightFile(target / "weights.parquet").content_sha256


@pytest.mark.parametrize("stop", [("measuring sensitivity", 3), ("GPTQ", 9), ("distilling", 15)])
def test_a_killed_run_continues_to_the_same_result(
    tiny_bert: Path,
    texts: list[str],
    *,
    of_one_run: str,
    tmp_path: Path,
    stop: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aios_db.engine.quantization.steps.SAVE_EVERY", 10)

    def kill(what: str, done: int, total: int) -> None:
        if (what, done) == stop:
            raise Killed

    with pytest.raises(Killed):
        quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=RUN, progress=kill)
    quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=RUN)
    assert WeightFile(tmp_path / "q" / "weights.parquet").content_sha256 == of_one_run


def test_refinement_that_is_cut_short_is_refused(by_row: Path, tmp_path: Path) -> None:
    file = WeightFile(by_row / "weights.parquet")
    name = "encoder.layer.1.output.dense.weight"
    layers = [file.raw(each) for each in file.layers]
    cut = [
        replace(each, data=each.data.slice(0, each.data.size - 1)) if each.info.name == name else each
        for each in layers
    ]
    write_weights(tmp_path / "cut.parquet", cut, version=2)
    with pytest.raises(WeightsError, match=f"{name}.*bytes, not"):
        WeightFile(tmp_path / "cut.parquet").array(name)


def test_use_is_logged(by_row: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "aios_db.engine.quantization"):
        ArrowEngine(Candidate(by_row)).encode(["word3 word4"])
    assert "12 quantized layers, unpacked one layer at a time" in caplog.text
