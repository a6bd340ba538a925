"""The configuration of a text encoder, completed from the weights where metadata.json is silent."""

from __future__ import annotations

import logging
from typing import Any

from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

log = logging.getLogger("aios_db.engine.architectures")

# What sentence encoders are used with unless they say otherwise; older converters did not keep it.
DEFAULT_MAX_SEQ_LENGTH = 256


def text_config(directory: ModelDirectory, file: WeightFile) -> tuple[str, dict[str, Any]]:
    """Return the architecture's name and its configuration, with ``max_seq_length``.

    A directory without metadata.json is taken for BERT and its sizes are read off the tensors' shapes.

    Raises
    ------
    WeightsError
        The sizes are neither given nor to be found in the weights.
    """
    architecture, config = directory.architecture or "BertModel", dict(directory.config)
    if architecture == "BertModel":
        config = {**_bert_sizes(file, assume_heads="num_attention_heads" not in config), **config}
    longest = int(config.get("max_position_embeddings", DEFAULT_MAX_SEQ_LENGTH))
    config["max_seq_length"] = min(int(config.get("max_seq_length", DEFAULT_MAX_SEQ_LENGTH)), longest)
    return architecture, config


def _bert_sizes(file: WeightFile, assume_heads: bool) -> dict[str, Any]:
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
