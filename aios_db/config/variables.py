"""A configuration as environment variables, for a process that is started with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from aios_db.schema.config import Config


def as_environment(config: Config) -> Mapping[str, str]:
    """Return a configuration as the environment variables that say the same."""
    found = {"AIOS_STRICT": _text(config.strict)}
    for section in fields(config):
        part = getattr(config, section.name)
        if is_dataclass(part):
            for each in fields(part):
                found[f"AIOS_{section.name}__{each.name}".upper()] = _text(getattr(part, each.name))
    return found


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return json.dumps(dict(value)) if value else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
