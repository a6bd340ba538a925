"""BERT text encoders, with the pooling that sentence-transformers keeps beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios_db.engine.convert.registry import Converter
from aios_db.engine.convert.sentence import pooling, read_json


def describe(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return ``model_type`` and ``model_info`` of metadata.json.

    Raises
    ------
    NotSupportedError
        The model pools in a way other than the mean or the first token, or has modules beside that; see
        `aios_db.engine.convert.sentence`.
    """
    sentence = read_json(directory / "sentence_bert_config.json")
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
            "pooling": pooling(directory),
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


CONVERTER = Converter(describe, rename)
