from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aios_db.engine.quantization import training_texts
from aios_db.engine.quantization.distill import Distillation, DistillationSettings
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.rounding import Grid, quantize
from aios_db.engine.quantization.subject import block_linears, copied, load_model
from aios_db.engine.quantization.trainable import GridLinear
from aios_db.engine.quantization.training_texts import TrainingTexts
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.quantized import quantized_values
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import QuantizationConfig
from aios_db.schema.errors import DataError

GRIDS = [Grid(2), Grid(2, 16), Grid(2, -1), Grid(2, 24, symmetric=True), Grid(2, planes=(0, 1, 2, 0, 6, 1))]


def layer(grid: Grid, *, moving: bool = True) -> tuple[nn.Linear, GridLinear]:
    torch.manual_seed(0)
    linear = nn.Linear(40, 6)
    rounded = quantize(linear.weight.detach(), grid, searched=True)
    on_grid = GridLinear(linear, rounded, dtype=torch.float32)
    if moving:
        on_grid.loosen(linear.weight.detach(), 0.5)
    return linear, on_grid


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_cold_layer_computes_what_its_rounded_weight_does(grid: Grid, moving: bool) -> None:
    linear, on_grid = layer(grid, moving=moving)
    with torch.no_grad():
        if on_grid.logits is not None:
            on_grid.logits.uniform_(-1, 1)
            on_grid.logits += 0.1 * on_grid.logits.sign()
        on_grid.stretch *= 1.1
    on_grid.temperature = 0.003
    x = torch.randn(5, 40)
    expected = nn.functional.linear(x, on_grid.quantized().dequantize(), linear.bias)
    torch.testing.assert_close(on_grid(x), expected)
    codes, (low, high) = on_grid.quantized().codes, grid.span()
    assert (codes >= low).all() and (codes <= high).all() and (codes == codes.round()).all()
    assert (on_grid.logits is None) == (not moving)


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("grid", GRIDS)
def test_weights_begin_part_of_the_way_from_their_integer_to_where_they_were(
    grid: Grid, share: float
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(40, 6, bias=False)
    rounded = quantize(linear.weight.detach(), grid, searched=True)
    low, high = grid.span()
    # As GPTQ does, some weights go past their neighbours.
    moved = rounded.codes + torch.randint(-1, 2, rounded.codes.shape)
    rounded.codes = torch.maximum(torch.minimum(moved, high), low)
    on_grid = GridLinear(linear, rounded, dtype=torch.float32)
    on_grid.loosen(linear.weight.detach(), share)
    begun = grid.blocks(on_grid(torch.eye(40)).T) / rounded.scale + rounded.zero_point
    place = grid.blocks(linear.weight.detach()) / rounded.scale + rounded.zero_point
    nearer = torch.maximum(torch.minimum(place, rounded.codes + 1), rounded.codes - 1)
    expected = torch.lerp(rounded.codes, torch.maximum(torch.minimum(nearer, high), low), share)
    assert grid.unblock(begun - expected, on_grid.shape).abs().max() < 0.03
    kept = on_grid.quantized().codes == rounded.codes
    assert kept[(place - rounded.codes).abs() < 0.9].all()


@pytest.mark.parametrize("grid", GRIDS)
def test_gradients_are_those_of_the_formula(grid: Grid) -> None:
    _, on_grid = layer(grid)
    on_grid.temperature = 0.4
    x, wanted = torch.randn(5, 40), torch.randn(5, 6)
    (on_grid(x) * wanted).sum().backward()
    copies = [each.detach().clone().requires_grad_() for each in (on_grid.stretch, on_grid.zero_point)]
    assert on_grid.logits is not None
    logits = on_grid.logits.detach().clone().requires_grad_()
    stretch, zero_point = copies
    codes = on_grid.floor + torch.sigmoid(logits / 0.4)
    weight = grid.unblock((codes - zero_point) * (on_grid.scale * stretch), on_grid.shape)
    (nn.functional.linear(x, weight) * wanted).sum().backward()
    torch.testing.assert_close(on_grid.logits.grad, logits.grad)
    torch.testing.assert_close(on_grid.stretch.grad, stretch.grad)
    assert (on_grid.zero_point.grad is None) == grid.symmetric
    if not grid.symmetric:
        torch.testing.assert_close(on_grid.zero_point.grad, zero_point.grad)


def test_ptq_distils_scales_norms_and_biases_and_keeps_every_integer(
    tiny_bert: Path, tmp_path: Path, texts: list[str]
) -> None:
    files = {}
    for steps in (0, 30):
        config = QuantizationConfig(
            target="int2", method="ptq", max_bits=5.0, distillation_steps=steps, distillation_tokens=256,
            calibration_tokens=8_000,
        )  # fmt: skip
        quantize_model(tiny_bert, tmp_path / str(steps), calibration=texts, config=config)
        files[steps] = WeightFile(tmp_path / str(steps) / "weights.parquet")
    kinds = set()
    for name, info in files[0].layers.items():
        before, after = (file.raw(name) for file in files.values())
        kinds.add(info.quant_type)
        if info.is_quantized:
            values = [quantized_values(each.data, info.quant_type, info.shape) for each in (before, after)]
            np.testing.assert_array_equal(*values)
        same = bytes(before.data) == bytes(after.data) and bytes(before.scales) == bytes(after.scales)
        trained = info.quant_type == "int2" or name.endswith(("bias", "LayerNorm.weight"))
        assert same != trained or "embeddings" in name, name
    assert kinds == {"int2", "int8", "fp16"}


def test_gptq_moves_the_integers_of_all_layers(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    files = []
    for steps in (0, 100):
        config = QuantizationConfig(
            target="int2", method="gptq", max_bits=5.0, distillation_steps=steps, distillation_tokens=256,
            learning_rate=0.1, calibration_tokens=8_000,
        )  # fmt: skip
        report = quantize_model(tiny_bert, tmp_path / str(steps), calibration=texts, config=config)
        files.append(WeightFile(tmp_path / str(steps) / "weights.parquet"))
    assert 0 < report.int2_share < 1
    for name in (each.name for each in report.layers if each.is_linear):
        before, after = (bytes(file.raw(name).data) for file in files)
        assert before != after, name


def test_weights_come_to_rest_and_imitate_the_original_better(tiny_bert: Path, texts: list[str]) -> None:
    directory = ModelDirectory.open(tiny_bert)
    assert directory.tokenizer is not None
    reference = load_model(directory, WeightFile(directory.weights))
    model = copied(reference)
    linears = {name: linear for name, linear in block_linears(model).items() if "query" in name}
    quantized = {name: quantize(linear.weight, Grid(2)) for name, linear in linears.items()}
    training = Distillation(
        reference, model, quantized, DistillationSettings(150, 0.02), language_model=False
    )
    batches = TrainingTexts(directory.tokenizer, texts, causal=False, tokens=128, seed=0)
    grids = [module for module in model.modules() if isinstance(module, GridLinear)]

    def between(temperature: float) -> float:
        ups = [torch.sigmoid(grid.logits.detach() / temperature) for grid in grids if grid.logits is not None]
        return torch.cat([torch.minimum(up, 1 - up).flatten() for up in ups]).mean().item()

    before = between(1.0)
    trained = training.run(batches, lambda *_: None, lambda _: None)
    assert before > 0.05
    assert between(grids[0].temperature) < 0.01
    changed = [(trained[name].codes != quantized[name].codes).float().mean() for name in quantized]
    assert 0.01 < float(torch.stack(changed).mean()) < 0.5
    with torch.no_grad():
        after, rounded = copied(model), copied(reference)
        for name, layer in quantized.items():
            rounded.get_submodule(name).weight.data = layer.dequantize()
        error = [
            torch.stack([(each(*batch.arguments) - reference(*batch.arguments)).square().mean()
                         for batch in (batches[number] for number in range(4))]).mean()
            for each in (after, rounded)
        ]  # fmt: skip
    assert error[0] < 0.6 * error[1]


def test_a_long_training_goes_more_slowly() -> None:
    rates = [DistillationSettings(steps, 0.01).rate for steps in (1, 800, 1250, 2000, 20_000)]
    assert rates == pytest.approx([0.01, 0.01, 0.008, 0.00632, 0.00632], rel=1e-3)


def test_training_texts_are_seeded_pieces_and_whole_texts(tiny_bert: Path, texts: list[str]) -> None:
    directory = ModelDirectory.open(tiny_bert)
    assert directory.tokenizer is not None
    batches = TrainingTexts(directory.tokenizer, texts, causal=False, tokens=64, seed=3)
    again = TrainingTexts(directory.tokenizer, texts, causal=False, tokens=64, seed=3)
    bodies = {tuple(int(word[4:]) + 4 for word in text.split()) for text in texts}
    pieces = 0
    for number in range(len(batches)):
        tokens, mask = batches[number].arguments
        assert torch.equal(tokens, again[number].arguments[0])
        for row, kept in zip(tokens.tolist(), mask.bool().tolist(), strict=True):
            ids = [token for token, keep in zip(row, kept, strict=True) if keep]
            assert ids[0] == 2 and ids[-1] == 3  # [CLS] and [SEP]
            body = tuple(ids[1:-1])
            pieces += body not in bodies
            assert number % 2 == 0 or body in bodies
            assert all(4 <= token < 64 for token in body)  # no special token among those replaced
    assert pieces > len(batches)
    with pytest.raises(DataError, match="calibration texts"):
        TrainingTexts(directory.tokenizer, [], causal=False, tokens=64, seed=0)


def test_pieces_are_of_one_text_or_of_two(
    tiny_bert: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_texts, "_REPLACED", 0.0)
    directory = ModelDirectory.open(tiny_bert)
    assert directory.tokenizer is not None
    batches = TrainingTexts(directory.tokenizer, texts, causal=False, tokens=512, seed=0)
    bodies = [[int(word[4:]) + 4 for word in text.split()] for text in texts]
    known = {
        tuple(body[start:end])
        for body in bodies
        for start in range(len(body))
        for end in range(start + 1, len(body) + 1)
    }
    joined = pieces = 0
    for number in range(0, len(batches), 2):
        tokens, mask = batches[number].arguments
        for row, length in zip(tokens.tolist(), mask.sum(1).tolist(), strict=True):
            body = tuple(row[1 : length - 1])
            pieces += 1
            joined += body not in known
            assert any({body[:border], body[border:]} - {()} <= known for border in range(len(body)))
    assert 0.1 < joined / pieces < 0.5


def test_embedding_tables_have_a_scale_for_each_column(tmp_path: Path, minilm_dir: Path) -> None:
    config = dataclasses.replace(QuantizationConfig(), target="int8", method="ptq", calibration_tokens=200)
    texts = [f"some text number {number} about nothing" for number in range(40)]
    quantize_model(minilm_dir, tmp_path / "q", calibration=texts, config=config)
    file, original = (
        WeightFile(tmp_path / "q" / "weights.parquet"),
        WeightFile(minilm_dir / "weights.parquet"),
    )
    name = "embeddings.word_embeddings.weight"
    info, stored = file.layers[name], file.raw(name)
    assert (info.quant_type, info.quant_axis) == ("int8", 1)
    assert len(stored.scales) == 4 * 384 and not stored.zero_points
    error = np.abs(file.array(name) - original.array(name)).max(0)
    assert (error <= np.abs(original.array(name)).max(0) / 127 * 0.501).all()
