"""Small models of every kind with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.validation.split import bundled_texts
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights

SIZES: dict[str, dict[str, Any]] = {
    "BertModel": {
        "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 2,
        "max_position_embeddings": 64, "layer_norm_eps": 1e-12,
    },
    "ViT": {
        "image_size": 64, "patch_size": 16, "hidden_size": 64, "num_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "projection_dim": 32,
    },
    "Whisper": {
        "hidden_size": 64, "num_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
        "num_mel_bins": 80, "max_source_positions": 60,
    },
    "Qwen2ForCausalLM": {
        "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128,
        "num_hidden_layers": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "attention_bias": True,
    },
}  # fmt: skip

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Write a model directory of an architecture; its tokenizer knows the bundled sentences' words."""

    def make(path: Path, architecture: str, config: dict[str, Any] | None = None) -> Path:
        torch.manual_seed(0)
        path.mkdir(parents=True)
        sizes = dict(config or SIZES[architecture])
        reads = architecture in ("BertModel", "Qwen2ForCausalLM")
        if reads:
            sizes["vocab_size"] = _write_tokenizer(path)
        layers = []
        for name, parameter in build_model(architecture, sizes).named_parameters():
            values = torch.randn(parameter.shape) * 0.2
            if name.endswith(("norm.weight", "Norm.weight")):
                values += 1
            info = LayerInfo(name, tuple(values.shape), str(values.dtype), values.numel())
            layers.append(StoredTensor(info, values.numpy()))
        write_weights(path / "weights.parquet", layers)
        described = (
            {"model_info": {"architecture": architecture, **sizes}}
            if reads
            else {"architecture": architecture, "config": sizes}
        )
        (path / "metadata.json").write_text(json.dumps(described))
        return path

    return make


def _write_tokenizer(path: Path) -> int:
    words = sorted({word for text in bundled_texts() for word in text.split()})
    vocabulary = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    (path / "tokenizer").mkdir()
    tokenizer.save(str(path / "tokenizer" / "tokenizer.json"))
    return len(vocabulary)
