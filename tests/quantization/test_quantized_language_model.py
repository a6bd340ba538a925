from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.frontends.tokenizer import TextTokenizer
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.subject import Batch, divergence, load_model
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.config import QuantizationConfig

QWEN2 = {
    "architecture": "Qwen2ForCausalLM", "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny_qwen2(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small language model that has learned to count through the words of the tokenizer."""
    torch.manual_seed(0)
    meta = build_model("Qwen2ForCausalLM", QWEN2)
    model = meta.to_empty(device="cpu").requires_grad_(True)
    for name, parameter in model.named_parameters():
        nn.init.ones_(parameter) if "norm" in name else nn.init.normal_(parameter, 0.0, 0.08)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        tokens = (torch.randint(4, 64, (16, 1)) + torch.arange(12)) % 60 + 4
        loss = nn.functional.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    directory = tmp_path_factory.mktemp("models") / "counting"
    (directory / "tokenizer").mkdir(parents=True)
    tokenizer = (tiny_bert / "tokenizer" / "tokenizer.json").read_text()
    (directory / "tokenizer" / "tokenizer.json").write_text(tokenizer)
    write_weights(
        directory / "weights.parquet",
        (
            StoredTensor(
                LayerInfo(name, tuple(value.shape), "torch.float32", value.numel()), value.detach().numpy()
            )
            for name, value in model.named_parameters()
        ),
    )
    metadata = {"model_name": "counting", "model_type": "causallm", "model_info": QWEN2}
    (directory / "metadata.json").write_text(json.dumps(metadata))
    return directory


@pytest.fixture(scope="module")
def counting_texts() -> list[str]:
    return [" ".join(f"word{(start + step) % 60}" for step in range(12)) for start in range(60)]


def loss(directory: Path, texts: list[str]) -> float:
    opened = ModelDirectory.open(directory)
    model = load_model(opened, WeightFile(opened.weights))
    assert opened.tokenizer is not None
    total = 0.0
    for windows in TextTokenizer(opened.tokenizer).windows(texts, 128, 0):
        tokens = torch.tensor(windows)
        logits = model(tokens)[:, 1:-2].flatten(0, 1)  # the words after the first, without the frame
        total += float(nn.functional.cross_entropy(logits, tokens[:, 2:-1].flatten(), reduction="sum"))
    return total / (10 * len(texts))


def test_language_models_keep_their_perplexity(
    tiny_qwen2: Path, tmp_path: Path, counting_texts: list[str]
) -> None:
    original = loss(tiny_qwen2, counting_texts)
    losses = {}
    for name, target, method in [
        ("int8", "int8", "ptq"), ("ptq", "int2", "ptq"), ("gptq", "int2", "gptq"), ("full", "int2", "full")
    ]:  # fmt: skip
        config = QuantizationConfig(
            target=target, method=method, mixed_precision=False,
            distillation_steps=60 if method == "full" else 0, distillation_tokens=256, learning_rate=0.05,
            calibration_tokens=8_000,
        )  # fmt: skip
        report = quantize_model(tiny_qwen2, tmp_path / name, calibration=counting_texts, config=config)
        assert report.int2_share == (0 if name == "int8" else 1)
        losses[name] = loss(tmp_path / name, counting_texts)
    assert abs(losses["int8"] - original) < 0.02
    assert losses["gptq"] < losses["ptq"]
    assert losses["full"] < losses["gptq"]
    assert math.exp(losses["ptq"] - original) < 1.1  # the perplexity, as a ratio
    assert math.exp(losses["gptq"] - original) < 1.03
    kinds = WeightFile(tmp_path / "gptq" / "weights.parquet").layers
    assert kinds["lm_head.weight"].quant_type == kinds["model.embed_tokens.weight"].quant_type
    assert kinds["model.layers.0.self_attn.k_proj.bias"].quant_type == "fp16"


def test_rows_of_a_language_model_get_more_bits(
    tiny_qwen2: Path, tmp_path: Path, counting_texts: list[str]
) -> None:
    original = loss(tiny_qwen2, counting_texts)
    rises = {}
    for name in ("layer", "row"):
        config = QuantizationConfig(
            target="int2", method="gptq", group_size=0, max_bits=5.5, mixed_by=name, distillation_steps=0,
            calibration_tokens=8_000,
        )  # fmt: skip
        report = quantize_model(tiny_qwen2, tmp_path / name, calibration=counting_texts, config=config)
        assert report.bits_linear <= 5.5
        rises[name] = loss(tmp_path / name, counting_texts) - original
    assert rises["row"] < rises["layer"]


def test_divergence_ignores_padding() -> None:
    mask = torch.tensor([[True, True, False]])
    batch = Batch((torch.zeros(1, 3),), mask)
    left, right = torch.randn(1, 3, 5), torch.randn(1, 3, 5)
    same = torch.cat([left[:, :2], right[:, 2:]], 1)
    for language_model in (True, False):
        assert divergence(batch, left, same, language_model=language_model) == pytest.approx(0, abs=1e-6)
        assert divergence(batch, left, right, language_model=language_model) > 0.01


def test_settings_that_round_a_language_model_by_group(
    tiny_qwen2: Path, tmp_path: Path, counting_texts: list[str]
) -> None:
    config = QuantizationConfig(
        target="int2", method="gptq", group_size=16, symmetric=True, max_bits=5.0, distillation_steps=0,
        calibration_tokens=8_000,
    )  # fmt: skip
    report = quantize_model(tiny_qwen2, tmp_path / "q", calibration=counting_texts, config=config)
    assert 3.9 < report.bits_linear <= 5.0
    groups = {layer.group_size for layer in report.layers if layer.quant_type == "int2"}
    assert groups == {16}
    assert dataclasses.asdict(report)["recipe"]["symmetric"]
