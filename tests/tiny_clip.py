"""A whole CLIP of random weights, as a Hugging Face directory with a tokenizer of few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")

WORDS = [
    "a", "of", "the", "thing", "something", "picture", "photo", "recipe", "bread", "boat", "red", "green",
    "blue", "yellow", "black", "white", "pink", "orange",
]  # fmt: skip
SIZE, WIDTH, TOKENS = 32, 24, 12


def write_tokenizer(directory: Path) -> None:
    """Write a tokenizer.json as CLIP's: lower case, the start and the end around each text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: place for place, word in enumerate(["!", *WORDS, "<|startoftext|>", "<|endoftext|>"])}
    start, end = len(WORDS) + 1, len(WORDS) + 2
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="!"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)],
    )
    tokenizer.save(str(directory / "tokenizer.json"))


def make_clip(directory: Path, seed: int = 0, **text: Any) -> torch.nn.Module:
    """Write a whole CLIP into ``directory``, and return it."""
    torch.manual_seed(seed)
    vision = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "image_size": SIZE, "patch_size": 8,
    }  # fmt: skip
    words = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "vocab_size": len(WORDS) + 3, "max_position_embeddings": TOKENS, "eos_token_id": len(WORDS) + 2,
        "bos_token_id": len(WORDS) + 1,
    } | text  # fmt: skip
    config = transformers.CLIPConfig(text_config=words, vision_config=vision, projection_dim=WIDTH)
    model = transformers.CLIPModel(config).eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=0.15)
    save(model, directory)
    return model  # type: ignore[no-any-return]


def save(model: Any, directory: Path) -> None:
    """Write a model and its tokenizer."""
    model.save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text())
    config.pop("_name_or_path", None)
    (directory / "config.json").write_text(json.dumps(config))
    write_tokenizer(directory)
