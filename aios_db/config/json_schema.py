"""The JSON Schema of a configuration file, for editors and for whoever generates one."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin

from aios_db.config.values import LARGEST, ROOT, keys, sections, unpack
from aios_db.schema.config import Shares

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a file: its sections, the type, range and default of each key.

    A key that is null has its default.
    """
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
        shares = {"type": ["object", "string", "null"], "additionalProperties": share}
        return {**shares, "default": dict(default)}  # type: ignore[call-overload]
    if get_origin(base) is Literal:
        return {"enum": [*get_args(base), None], "default": default}
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    found: dict[str, Any] = {"type": [types[base], "null"], "default": default}
    largest = LARGEST.get(base)
    if largest is not None:
        found["minimum"] = -largest if limits is None else limits.least
        found["maximum"] = largest if limits is None or limits.most == math.inf else limits.most
    return found
