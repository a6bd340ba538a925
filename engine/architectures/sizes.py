"""What a model directory holds: its architecture and all its sizes, read off the shapes of the tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from aios_db.engine.architectures.kinds import Kind, load
from aios_db.engine.architectures.registry import ARCHITECTURES
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import NotSupportedError, WeightsError

log = logging.getLogger("aios_db.engine.architectures")


def architecture_of(directory: ModelDirectory, file: WeightFile) -> str:
    """Return the name that metadata.json gives the architecture, or by which the tensors are known.

    Raises
    ------
    WeightsError
        There is no such name, and the tensors are those of no architecture that is registered.
    """
    if directory.architecture is not None:
        return directory.architecture
    for name, architecture in ARCHITECTURES.items():
        if all(tensor in file.layers for tensor in architecture.tensors):
            return name
    raise WeightsError(f"{file.path}: no metadata.json, and tensors of no known architecture")


def require_kind(directory: ModelDirectory, file: WeightFile, kind: Kind) -> str:
    """Return the name of a model's architecture, which is of ``kind``.

    Raises
    ------
    NotSupportedError
        It is of another kind, or not known.
    WeightsError
        As `architecture_of`.
    """
    name = architecture_of(directory, file)
    known = [each for each, row in ARCHITECTURES.items() if row.kind is kind]
    if name not in known:
        raise NotSupportedError(f"{directory.path} holds {name}, not {' or '.join(known)}")
    return name


def kind_of(directory: ModelDirectory) -> Kind | None:
    """Return what kind of model a directory holds; None where its architecture is not known."""
    name = directory.architecture
    if name is None:
        with WeightFile(directory.weights) as file:
            try:
                name = architecture_of(directory, file)
            except WeightsError:
                return None
    return ARCHITECTURES[name].kind if name in ARCHITECTURES else None


def model_sizes(directory: ModelDirectory, file: WeightFile) -> tuple[str, dict[str, Any]]:
    """Return the architecture's name and its whole configuration.

    The shapes win over metadata.json, whose keys are not the same in every converter. The number of attention
    heads is in no shape: without metadata those of encoders are taken to be 64 wide. A language model needs
    its metadata.

    Raises
    ------
    WeightsError
        The tensors are those of no known architecture, one that tells a size is missing, or metadata.json
        holds what is no size.
    """
    name = architecture_of(directory, file)
    if name not in ARCHITECTURES:
        return name, dict(directory.config)
    config: dict[str, Any] = load(ARCHITECTURES[name].sizes)(directory, file)
    _check_heads(config, file)
    return name, config


def whisper_sizes(directory: ModelDirectory, file: WeightFile) -> dict[str, Any]:
    """Return the configuration of a Whisper encoder."""
    hidden, mels, _ = _shape(file, "encoder.conv1.weight")
    sizes = {
        "hidden_size": hidden,
        "num_mel_bins": mels,
        "num_layers": _count(file, ".self_attn.q_proj.weight"),
        "intermediate_size": _shape(file, "encoder.layers.0.fc1.weight")[0],
        "max_source_positions": _shape(file, "encoder.position_embedding")[0],
    }
    return _with_heads({**directory.config, **sizes}, file)


def clip_sizes(directory: ModelDirectory, file: WeightFile) -> dict[str, Any]:
    """Return the configuration of a CLIP image encoder."""
    hidden, _, patch, _ = _shape(file, "vision_model.embeddings.patch_embedding.weight")
    positions = _shape(file, "vision_model.embeddings.position_embedding.weight")[0]
    along, known = round((positions - 1) ** 0.5), directory.config.get("image_size")
    has_a_rest = isinstance(known, int) and known // patch == along  # pixels that no patch covers
    sizes = {
        "hidden_size": hidden,
        "patch_size": patch,
        "image_size": known if has_a_rest else patch * along,
        "num_layers": _count(file, ".self_attn.q_proj.weight"),
        "intermediate_size": _shape(file, "vision_model.encoder.layers.0.mlp.fc1.weight")[0],
        "projection_dim": _shape(file, "visual_projection.weight")[0],
    }
    return _with_heads({**directory.config, **sizes}, file)


LEGACY_EOS = 2
"""For CLIP: a text ends at its highest token, as OpenAI's models have it without saying so."""


def clip_text_sizes(directory: ModelDirectory, file: WeightFile) -> dict[str, Any]:
    """Return the configuration of a CLIP text encoder."""
    vocabulary, hidden = _shape(file, "text_model.embeddings.token_embedding.weight")
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "max_position_embeddings": _shape(file, "text_model.embeddings.position_embedding.weight")[0],
        "num_layers": _count(file, ".self_attn.q_proj.weight"),
        "intermediate_size": _shape(file, "text_model.encoder.layers.0.mlp.fc1.weight")[0],
        "projection_dim": _shape(file, "text_projection.weight")[0],
    }
    return _with_heads({"eos_token_id": LEGACY_EOS, **directory.config, **sizes}, file)


def language_model_sizes(directory: ModelDirectory, file: WeightFile) -> dict[str, Any]:
    """Return the configuration of a model of the Qwen2 family."""
    vocabulary, hidden = _shape(file, "model.embed_tokens.weight")
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": _count(file, ".self_attn.q_proj.weight"),
        "intermediate_size": _shape(file, "model.layers.0.mlp.gate_proj.weight")[0],
        "attention_bias": "model.layers.0.self_attn.q_proj.bias" in file.layers,
    }
    return {**directory.config, **sizes}


def _with_heads(config: dict[str, Any], file: WeightFile) -> dict[str, Any]:
    """Return the configuration with a number of heads, if need be by a guess that is said aloud."""
    if "num_attention_heads" not in config:
        config["num_attention_heads"] = config["hidden_size"] // 64
        log.warning("%s: assuming heads of 64", file.path)
    return config


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


def _shape(file: WeightFile, name: str) -> tuple[int, ...]:
    if name not in file.layers:
        raise WeightsError(f"{file.path}: layer {name!r} is missing")
    return file.layers[name].shape


def _count(file: WeightFile, suffix: str) -> int:
    return sum(name.endswith(suffix) for name in file.layers)
