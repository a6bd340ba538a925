"""How the quantization benchmarks name a configuration.

A recipe is target:method[:bits a weight[:group size[:steps of distillation[:what gets more bits, layer or
row]]]]; what it leaves out is the configuration's default.
"""

from __future__ import annotations

from dataclasses import replace

from aios_db.schema.config import QuantizationConfig

FIELDS = {"max_bits": float, "group_size": int, "distillation_steps": int, "mixed_by": str}


def recipe_config(recipe: str, base: QuantizationConfig) -> QuantizationConfig:
    """Return ``base`` with what ``recipe`` names."""
    target, method, *rest = recipe.split(":")
    given = {name: kind(text) for (name, kind), text in zip(FIELDS.items(), rest, strict=False)}
    return replace(base, target=target, method=method, **given)
