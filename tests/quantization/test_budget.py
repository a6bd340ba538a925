"""What is spared for large models: tokens, copies, and Hessians that nobody asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.quantization import moments
from aios_db.engine.quantization.budget import calibration_budget
from aios_db.engine.quantization.layers import quantize_layers
from aios_db.engine.quantization.moments import BlockWalk, Means
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.rounding import Grid, Quantized, quantize
from aios_db.engine.quantization.subject import Batch, block_linears, copied, load_model, make_batch
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import QuantizationConfig

MINILM = {
    "architecture": "BertModel", "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536,
    "num_hidden_layers": 6, "vocab_size": 30522, "max_position_embeddings": 512, "layer_norm_eps": 1e-12,
}  # fmt: skip
QWEN = {
    "architecture": "Qwen2ForCausalLM", "hidden_size": 896, "num_attention_heads": 14,
    "num_key_value_heads": 2, "intermediate_size": 4864, "num_hidden_layers": 24, "vocab_size": 151936,
    "max_position_embeddings": 32768,
}  # fmt: skip


def test_a_small_model_is_shown_everything_and_a_large_one_less() -> None:
    small, large = (
        calibration_budget(block_linears(build_model(str(sizes["architecture"]), sizes)).values())
        for sizes in (MINILM, QWEN)
    )
    assert (small.solved, small.measured, small.probed, small.distilled) == (240_000, 36_864, 4096, True)
    assert 4 * 4864 <= large.solved < 25_000
    assert 4864 <= large.measured < large.solved
    assert large.probed == 128
    assert not large.distilled


def test_a_layer_of_many_inputs_is_shown_four_tokens_for_each() -> None:
    wide = nn.Linear(50_000, 50_000, bias=False, device="meta")
    assert calibration_budget([wide]).solved == 200_000


def test_a_batch_is_shortened_by_whole_texts() -> None:
    batch = make_batch([[5, 6, 7], [8, 9], [5, 6, 7]], causal=False)
    short = batch.shortened(6)
    assert [each.tolist() for each in short.arguments] == [[[5, 6, 7], [8, 9, 0]], [[1, 1, 1], [1, 1, 0]]]
    assert short.mask is not None and short.mask.sum() == 5
    assert short.positions == 6
    assert batch.shortened(9) is batch
    assert batch.shortened(1).positions == 3  # one text at least


@pytest.fixture
def bert(tiny_bert: Path) -> nn.Module:
    directory = ModelDirectory.open(tiny_bert)
    return load_model(directory, WeightFile(directory.weights))


@pytest.fixture
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        make_batch(torch.randint(4, 64, (8, 12), generator=generator).tolist(), causal=False)
        for _ in range(3)
    ]


def test_a_copy_shares_its_tables_and_nothing_else(bert: nn.Module) -> None:
    copy = copied(bert)
    theirs = dict(copy.named_parameters())
    shared = {name for name, each in bert.named_parameters() if theirs[name] is each}
    assert shared and all("embeddings" in name and "LayerNorm" not in name for name in shared)
    assert all(torch.equal(theirs[name], each) for name, each in bert.named_parameters())


def test_one_model_has_the_moments_of_two_equal_ones(
    bert: nn.Module, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "_PANEL", 12)  # a Hessian of several panels
    one, two = BlockWalk(bert, bert, batches), BlockWalk(bert, copied(bert), batches)
    for walk in (one, two):
        walk.advance()
    stage = one.stages()[-1]
    single, double = one.moments(stage), two.moments(stage)
    assert single.cross is single.hessian
    torch.testing.assert_close(single.hessian, double.hessian)
    torch.testing.assert_close(single.hessian, double.cross, rtol=1e-4, atol=1e-5)
    assert torch.equal(single.hessian, single.hessian.T)
    means = two.means(stage)
    torch.testing.assert_close(means.square, double.hessian.diagonal())
    assert torch.equal(means.mean, double.mean)


def test_eight_bits_ask_only_about_the_inputs_of_layers_with_biases(
    bert: nn.Module, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    means = BlockWalk.means

    def recorded(walk: BlockWalk, stage: Sequence[str]) -> Means:
        asked.extend(stage)
        return means(walk, stage)

    def refused(*_: object) -> None:
        raise AssertionError("rounding needs no Hessian")

    monkeypatch.setattr(BlockWalk, "means", recorded)
    monkeypatch.setattr(BlockWalk, "moments", refused)
    for name, linear in block_linears(bert).items():
        if "intermediate" in name:
            linear.register_parameter("bias", None)
    grids = dict.fromkeys(block_linears(bert), Grid(8, symmetric=True))
    errors: dict[str, float] = {}

    def done(name: str, _: Quantized, error: float) -> None:
        errors[name] = error

    model = copied(bert)
    quantized = quantize_layers(bert, model, batches, grids=grids, settings=None, done=done)
    assert set(asked) == {name for name in grids if "intermediate" not in name}
    assert all(0 < error < 1e-3 for error in errors.values())
    plain = quantize(block_linears(bert)["encoder.layer.1.intermediate.dense"].weight, grids[asked[0]])
    assert torch.equal(quantized["encoder.layer.1.intermediate.dense"].codes, plain.codes.to(torch.int8))
    first = "encoder.layer.0.attention.self.query"
    before, after = (BlockWalk(each, each, batches).means([first]) for each in (bert, model))
    assert torch.equal(before.mean, after.mean)
    shift = block_linears(model)[first](after.mean) - block_linears(bert)[first](before.mean)
    assert shift.abs().max() < 1e-5  # the bias takes it


def test_a_large_model_is_distilled_only_when_told_to(
    tiny_bert: Path,
    tmp_path: Path,
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def large(linears: Any) -> Any:
        return dataclasses.replace(calibration_budget(linears), distilled=False)

    monkeypatch.setattr("aios_db.engine.quantization.job.calibration_budget", large)
    config = QuantizationConfig(
        target="int2", method="ptq", mixed_precision=False, distillation_tokens=128, calibration_tokens=200
    )
    for steps, expected in ((-1, {"rounding"}), (2, {"rounding", "distilling"})):
        seen: set[str] = set()
        quantize_model(
            tiny_bert, tmp_path / f"q{steps}", calibration=texts,
            config=dataclasses.replace(config, distillation_steps=steps),
            progress=lambda what, done, total, seen=seen: seen.add(what),
        )  # fmt: skip
        assert seen == expected
    assert [record.message for record in caplog.records].count(
        "a model of this size is not distilled unless a number of steps is given"
    ) == 1
