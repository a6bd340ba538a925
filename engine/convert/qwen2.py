"""Causal language models of the Qwen2 and Llama families."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios_db.engine.convert.registry import Converter
from aios_db.schema.errors import NotSupportedError

_ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}


def describe(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return ``model_type`` and ``model_info`` of metadata.json.

    Raises
    ------
    NotSupportedError
        The model scales its rotary positions, limits attention to a window, or is not a SwiGLU model
        without biases in its feed-forward layers.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    unsupported = {
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
        "use_sliding_window": bool(config.get("use_sliding_window")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "attention_bias": config["model_type"] == "llama" and bool(config.get("attention_bias")),
    }
    if any(unsupported.values()):
        names = ", ".join(name for name, bad in unsupported.items() if bad)
        path = directory / "config.json"
        raise NotSupportedError(f"{path}: this engine cannot run a model with such {names}")
    heads = config["num_attention_heads"]
    return {
        "model_type": "causallm",
        "model_info": {
            "architecture": _ARCHITECTURES[config["model_type"]],
            "embedding_dimension": config["hidden_size"],
            "hidden_size": config["hidden_size"],
            "num_attention_heads": heads,
            "num_key_value_heads": config.get("num_key_value_heads") or heads,
            "head_dim": config.get("head_dim") or config["hidden_size"] // heads,
            "intermediate_size": config["intermediate_size"],
            "num_hidden_layers": config["num_hidden_layers"],
            "vocab_size": config["vocab_size"],
            "max_position_embeddings": config["max_position_embeddings"],
            "rms_norm_eps": config["rms_norm_eps"],
            "rope_theta": rope.get("rope_theta") or config.get("rope_theta") or 10000.0,
            **_special_tokens(config, directory),
        },
    }


def rename(name: str) -> str | None:
    """Leave out buffers that older checkpoints hold and no module needs."""
    return None if name.endswith("rotary_emb.inv_freq") else name


def _special_tokens(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return the ids that start and end a text; generation_config.json knows better than config.json."""
    path = directory / "generation_config.json"
    known = {**config, **(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})}
    end = known.get("eos_token_id")
    ends = [] if end is None else end if isinstance(end, list) else [end]
    return {"bos_token_id": known.get("bos_token_id"), "eos_token_ids": ends}


CONVERTER = Converter(describe, rename, tied={"lm_head.weight": "model.embed_tokens.weight"})
