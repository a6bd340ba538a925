"""The configuration of a BERT text encoder, completed from the weights where metadata.json is silent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError
from aios_db.schema.weights import METADATA_FILE

log = logging.getLogger("aios_db.engine.architectures")

# What sentence encoders are used with unless they say otherwise; older converters did not keep it.
DEFAULT_MAX_SEQ_LENGTH = 256
MIN_SEQ_LENGTH = 8
MAX_SEQ_LENGTH = 1 << 31  # some tokenizers say "no limit" by a large number; positions bound it

SIZES = (
    "hidden_size", "vocab_size", "max_position_embeddings", "type_vocab_size", "intermediate_size",
    "num_hidden_layers", "num_attention_heads",
)  # fmt: skip


def bert_sizes(directory: ModelDirectory, file: WeightFile) -> dict[str, Any]:
    """Return the model's configuration, with ``max_seq_length``.

    Raises
    ------
    WeightsError
        The sizes are neither given nor to be found in the weights, or are no sizes.
    """
    config = dict(directory.config)
    stored = _stored_sizes(file, assume_heads="num_attention_heads" not in config)
    config = {**stored, **config}
    config.setdefault("max_seq_length", DEFAULT_MAX_SEQ_LENGTH)
    # More than the tensors have would be built before it is missed, 2**31 layers for hours.
    most = {
        **stored,
        "num_hidden_layers": len(file.layers),  # a few too many are missed by name as they load
        "num_attention_heads": stored["hidden_size"],
        "max_seq_length": MAX_SEQ_LENGTH,
    }
    _check(config, most, directory.path / METADATA_FILE)
    config["max_seq_length"] = min(config["max_seq_length"], config["max_position_embeddings"])
    return config


def _check(config: Mapping[str, Any], most: Mapping[str, int], path: Path) -> None:
    for key in (*SIZES, "max_seq_length"):
        value, least = config[key], MIN_SEQ_LENGTH if key.startswith("max_") else 1
        if not isinstance(value, int) or value < least:
            raise WeightsError(f"{path}: {key} is {value!r}, not a whole number from {least}")
        if value > most[key]:
            raise WeightsError(f"{path}: {key} is {value}, more than the {most[key]} that the tensors allow")
    if config["hidden_size"] % config["num_attention_heads"]:
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        raise WeightsError(f"{path}: a hidden_size of {hidden} cannot be shared by {heads} attention heads")
    eps = config.get("layer_norm_eps", 0.0)
    if not isinstance(eps, (int, float)) or not 0 <= eps < 1:
        raise WeightsError(f"{path}: layer_norm_eps is {eps!r}, not a small number")


def _stored_sizes(file: WeightFile, assume_heads: bool) -> dict[str, Any]:
    def shape(name: str) -> tuple[int, ...]:
        if name not in file.layers or len(file.layers[name].shape) != 2:
            raise WeightsError(f"{file.path}: layer {name!r} is missing or no matrix")
        return file.layers[name].shape

    vocabulary, hidden = shape("embeddings.word_embeddings.weight")
    # BERT's heads are 64 wide at every size but the MiniLM family's 384.
    heads = 12 if hidden == 384 else max(1, hidden // 64)
    if assume_heads:
        log.warning("%s: assuming BERT with %d attention heads", file.path, heads)
    return {
        "hidden_size": hidden,
        "vocab_size": vocabulary,
        "max_position_embeddings": shape("embeddings.position_embeddings.weight")[0],
        "type_vocab_size": shape("embeddings.token_type_embeddings.weight")[0],
        "intermediate_size": shape("encoder.layer.0.intermediate.dense.weight")[0],
        "num_hidden_layers": sum(name.endswith(".attention.self.query.weight") for name in file.layers),
        "num_attention_heads": heads,
    }
