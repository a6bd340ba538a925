"""The configuration of one tower of a CLIP model, as transformers reads its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def tower(config: Mapping[str, Any], side: str) -> dict[str, Any]:
    """Return the sizes of a side, ``text`` or ``vision``.

    A whole model keeps them under ``text_config``; what older ones have under ``text_config_dict``, too,
    wins, as in transformers. A side that was saved alone has them at the top. The projection of a whole model
    is that of both sides.
    """
    sizes = dict(config.get(f"{side}_config") or {}) | dict(config.get(f"{side}_config_dict") or {})
    sizes = sizes or dict(config)
    sizes["projection_dim"] = config.get("projection_dim") or sizes.get("projection_dim")
    return sizes


def is_whole(config: Mapping[str, Any]) -> bool:
    """Tell whether config.json is that of both sides."""
    return any(config.get(name) for name in ("text_config", "text_config_dict"))
