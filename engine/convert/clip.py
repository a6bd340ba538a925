"""CLIP models: the image encoder and its projection; the text encoder is written beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aios_db.engine.architectures.clip import ClipVisionConfig
from aios_db.engine.convert.clip_pixels import adapted
from aios_db.engine.convert.clip_towers import is_whole, tower
from aios_db.engine.convert.registry import Converter


def describe(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return ``model_type``, ``architecture`` and ``config`` of metadata.json.

    What config.json leaves out has ViT-B/32's size.

    Raises
    ------
    NotSupportedError
        The encoder's activation is neither quick_gelu nor gelu.
    """
    return {
        "model_type": "CLIP Vision Transformer",
        "architecture": "ViT",
        "config": asdict(ClipVisionConfig.from_metadata(tower(config, "vision"))),
    }


def rename(name: str) -> str | None:
    """Leave out the text side, and position numbers that are no weights."""
    kept = name.startswith(("vision_model.", "visual_projection.")) and not name.endswith("position_ids")
    return name if kept else None


CONVERTER = Converter(
    describe, rename, tokenizer=False, beside={"-text": "clip_text_model"}, whole=is_whole, adapt=adapted
)
