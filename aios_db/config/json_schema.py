"""The JSON Schema of a configuration file, for editors and for whoever generates one."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin

from aios_db.config.values import ROOT, keys, sections, unpack
from aios_db.schema.config import Shares

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a file: its sections, the type, range and default of each key."""
    properties: dict[str, Any] = {}
    for name, section in sections().items():
        content = {key: _property(hint, getattr(section(), key)) for key, hint in keys(section).items()}
        if name == ROOT:
            properties |= content
        else:
            properties[name] = {
                "type": ["object", "null"],
                "description": (section.__doc__ or "").splitlines()[0],
                "properties": content,
                "additionalProperties": False,
            }
    return {
        "$schema": DIALECT,
        "title": "aios.yaml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _property(hint: Any, default: object) -> dict[str, Any]:
    base, limits = unpack(hint)
    if base == Shares:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        return {"type": ["object", "string"], "additionalProperties": share, "default": dict(default)}  # type: ignore[call-overload]
    if get_origin(base) is Literal:
        return {"enum": list(get_args(base)), "default": default}
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    found: dict[str, Any] = {"type": types[base], "default": default}
    if limits is not None:
        found["minimum"] = limits.least
        if limits.most != math.inf:
            found["maximum"] = limits.most
    return found
