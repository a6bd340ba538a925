"""Relative paths of a configuration, held where they led when it was read."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from aios_db.schema.config import Config
from aios_db.schema.homes import expanded

_MODELS = ("text_model", "audio_model", "image_model", "image_text_model")


def anchored(config: Config) -> Config:
    """Return a configuration that means the same in another working directory.

    A process may go elsewhere while a database is open, and one that it starts begins elsewhere. Names of
    models stay names, unless a directory of that name lies here, which goes before.
    """
    engine = config.engine
    named = {key: getattr(engine, key) for key in _MODELS}
    paths = {key: name for key, name in named.items() if name and os.path.isdir(expanded(name))}
    paths["models_dir"] = engine.models_dir
    here: dict[str, Any] = {
        key: str(expanded(path).absolute()) for key, path in paths.items() if _is_relative(path)
    }
    return replace(config, engine=replace(engine, **here)) if here else config


def _is_relative(path: str) -> bool:
    return not path.startswith("~") and not os.path.isabs(path)
