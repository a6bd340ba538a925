"""CLIP models: the text encoder and its projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aios_db.engine.architectures.clip_text import ClipTextConfig
from aios_db.engine.convert.clip_towers import tower
from aios_db.engine.convert.registry import Converter


def describe(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return ``model_type``, ``architecture`` and ``config`` of metadata.json.

    What config.json leaves out is ViT-B/32's.

    Raises
    ------
    NotSupportedError
        The encoder's activation is neither quick_gelu nor gelu.
    """
    return {
        "model_type": "CLIP Text Transformer",
        "architecture": "CLIPTextModelWithProjection",
        "config": asdict(ClipTextConfig.from_metadata(tower(config, "text"))),
    }


def rename(name: str) -> str | None:
    """Leave out the picture side, and position numbers that are no weights."""
    kept = name.startswith(("text_model.", "text_projection.")) and not name.endswith("position_ids")
    return name if kept else None


CONVERTER = Converter(describe, rename)
