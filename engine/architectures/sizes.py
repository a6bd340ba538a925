"""The sizes of a model, read off the shapes of its tensors; metadata.json adds what shapes do not show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

log = logging.getLogger("aios_db.engine.architectures")


def model_sizes(directory: ModelDirectory, file: WeightFile) -> tuple[str, dict[str, Any]]:
    """Return the architecture's name in `registry` and its whole configuration.

    The shapes win over metadata.json, whose keys are not the same in every converter. The number of attention
    heads is in no shape: without metadata those of encoders are taken to be 64 wide. A language model needs
    its metadata.

    Raises
    ------
    WeightsError
        The tensors are those of no known architecture, or one that tells a size is missing.
    """
    architecture = directory.architecture or _recognise(file)
    if architecture not in _READERS:
        return architecture, dict(directory.config)
    config = {**directory.config, **_READERS[architecture](file)}
    if architecture in ("Whisper", "ViT") and "num_attention_heads" not in config:
        config["num_attention_heads"] = config["hidden_size"] // 64
        log.warning("%s: assuming %s with heads of 64", file.path, architecture)
    _check_heads(config, file)
    return architecture, config


def _check_heads(config: Mapping[str, Any], file: WeightFile) -> None:
    """Refuse numbers of heads, which no shape tells, that the query projections have no room for."""
    rows = next((info.shape[0] for name, info in file.layers.items() if name.endswith("q_proj.weight")), None)
    if rows is None:
        return
    for key in ("num_attention_heads", "num_key_value_heads", "head_dim"):
        value = config.get(key, 1)
        if value is None:
            continue
        if not isinstance(value, int) or not 1 <= value <= rows:
            raise WeightsError(f"{file.path}: {key} is {value!r}, not a whole number from 1 to {rows}")


def _recognise(file: WeightFile) -> str:
    if "encoder.conv1.weight" in file.layers:
        return "Whisper"
    if "visual_projection.weight" in file.layers:
        return "ViT"
    if "model.embed_tokens.weight" in file.layers:
        biased = "model.layers.0.self_attn.q_proj.bias" in file.layers
        return "Qwen2ForCausalLM" if biased else "LlamaForCausalLM"
    raise WeightsError(f"{file.path}: no metadata.json, and tensors of no known architecture")


def _shape(file: WeightFile, name: str) -> tuple[int, ...]:
    if name not in file.layers:
        raise WeightsError(f"{file.path}: layer {name!r} is missing")
    return file.layers[name].shape


def _count(file: WeightFile, suffix: str) -> int:
    return sum(name.endswith(suffix) for name in file.layers)


def _whisper(file: WeightFile) -> dict[str, Any]:
    hidden, mels, _ = _shape(file, "encoder.conv1.weight")
    return {
        "hidden_size": hidden,
        "num_mel_bins": mels,
        "num_layers": _count(file, ".self_attn.q_proj.weight"),
        "intermediate_size": _shape(file, "encoder.layers.0.fc1.weight")[0],
        "max_source_positions": _shape(file, "encoder.position_embedding")[0],
    }


def _clip(file: WeightFile) -> dict[str, Any]:
    hidden, _, patch, _ = _shape(file, "vision_model.embeddings.patch_embedding.weight")
    positions = _shape(file, "vision_model.embeddings.position_embedding.weight")[0]
    return {
        "hidden_size": hidden,
        "patch_size": patch,
        "image_size": patch * round((positions - 1) ** 0.5),
        "num_layers": _count(file, ".self_attn.q_proj.weight"),
        "intermediate_size": _shape(file, "vision_model.encoder.layers.0.mlp.fc1.weight")[0],
        "projection_dim": _shape(file, "visual_projection.weight")[0],
    }


def _language_model(file: WeightFile) -> dict[str, Any]:
    vocabulary, hidden = _shape(file, "model.embed_tokens.weight")
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": _count(file, ".self_attn.q_proj.weight"),
        "intermediate_size": _shape(file, "model.layers.0.mlp.gate_proj.weight")[0],
        "attention_bias": "model.layers.0.self_attn.q_proj.bias" in file.layers,
    }


_READERS: dict[str, Callable[[WeightFile], dict[str, Any]]] = {
    "Whisper": _whisper,
    "ViT": _clip,
    "Qwen2ForCausalLM": _language_model,
    "LlamaForCausalLM": _language_model,
}
