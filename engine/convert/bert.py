"""BERT text encoders, with the pooling that sentence-transformers keeps beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios_db.engine.convert.registry import Converter
from aios_db.schema.errors import NotSupportedError


def describe(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return ``model_type`` and ``model_info`` of metadata.json.

    Raises
    ------
    NotSupportedError
        The model pools in a way other than the mean or the first token.
    """
    sentence = _json(directory / "sentence_bert_config.json")
    copied = (
        "hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers", "vocab_size",
        "max_position_embeddings", "layer_norm_eps", "type_vocab_size", "hidden_act",
    )  # fmt: skip
    return {
        "model_type": "bert",
        "model_info": {
            "architecture": "BertModel",
            "embedding_dimension": config["hidden_size"],
            **{key: config[key] for key in copied if key in config},
            "pooling": _pooling(directory),
            "max_seq_length": sentence.get("max_seq_length") or min(512, config["max_position_embeddings"]),
        },
    }


def rename(name: str) -> str | None:
    """Drop the ``bert.`` prefix; leave out the heads of pre-training and buffers that are no weights."""
    name = name.removeprefix("bert.")
    return (
        name
        if name.startswith(("embeddings.", "encoder.", "pooler.")) and "position_ids" not in name
        else None
    )


def _pooling(directory: Path) -> str:
    modes = _json(directory / "1_Pooling" / "config.json")
    chosen = [
        key.removeprefix("pooling_mode_")
        for key, on in modes.items()
        if on is True and key.startswith("pooling_mode_")
    ]
    names = {"mean_tokens": "mean", "cls_token": "cls"}
    if not chosen:
        return "mean"
    if len(chosen) > 1 or chosen[0] not in names:
        raise NotSupportedError(
            f"{directory}: pooling {', '.join(chosen)} is not one of mean_tokens, cls_token"
        )
    return names[chosen[0]]


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


CONVERTER = Converter(describe, rename)
