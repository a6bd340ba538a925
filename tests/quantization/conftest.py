from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights

WORDS = [f"word{number}" for number in range(60)]
BERT = {
    "architecture": "BertModel", "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64,
    "num_hidden_layers": 2, "vocab_size": 64, "max_position_embeddings": 40, "layer_norm_eps": 1e-12,
}  # fmt: skip


def make_texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 20))) for _ in range(count)]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return make_texts(120)


@pytest.fixture(scope="session")
def unseen_texts() -> list[str]:
    return make_texts(60, seed=9)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A V1 directory of a small BERT with random weights."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    (directory / "tokenizer").mkdir(parents=True)
    torch.manual_seed(0)
    parameters = {
        name: torch.empty(parameter.shape).normal_(1.0 if name.endswith("Norm.weight") else 0.0, 0.2)
        for name, parameter in build_model("BertModel", BERT).named_parameters()
    }
    write_weights(
        directory / "weights.parquet",
        (
            StoredTensor(LayerInfo(name, tuple(value.shape), "torch.float32", value.numel()), value.numpy())
            for name, value in parameters.items()
        ),
    )
    vocabulary = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer" / "tokenizer.json"))
    metadata = {"model_name": "tiny", "model_type": "bert", "model_info": BERT}
    (directory / "metadata.json").write_text(json.dumps(metadata))
    return directory
