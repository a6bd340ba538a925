"""Whisper models: the audio encoder alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios_db.engine.convert.registry import Converter
from aios_db.schema.errors import NotSupportedError


def describe(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return ``model_type``, ``architecture`` and ``config`` of metadata.json.

    Raises
    ------
    NotSupportedError
        The encoder's activation is not GELU.
    """
    activation = config.get("activation_function", "gelu")
    if activation != "gelu":
        raise NotSupportedError(f"{directory}: Whisper with the activation {activation!r}, not 'gelu'")
    return {
        "model_type": "Whisper Audio Encoder",
        "architecture": "Whisper",
        "config": {
            "hidden_size": config["d_model"],
            "num_layers": config["encoder_layers"],
            "num_attention_heads": config["encoder_attention_heads"],
            "intermediate_size": config["encoder_ffn_dim"],
            "num_mel_bins": config["num_mel_bins"],
            "max_source_positions": config["max_source_positions"],
        },
    }


def rename(name: str) -> str | None:
    """Keep the encoder; its position table has a name of its own in stored models."""
    name = name.removeprefix("model.")
    if name == "encoder.embed_positions.weight":
        return "encoder.position_embedding"
    return name if name.startswith("encoder.") else None


CONVERTER = Converter(describe, rename, tokenizer=False)
