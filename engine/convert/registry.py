"""Which converter reads which Hugging Face model. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from aios_db.schema.errors import NotSupportedError


@dataclass(frozen=True)
class Converter:
    """How the models of one Hugging Face ``model_type`` are written."""

    describe: Callable[[Mapping[str, Any], Path], dict[str, Any]]
    """From config.json and its directory to the model's part of metadata.json.

    That is ``model_type`` with ``model_info``, or with ``architecture`` and ``config``.
    """
    rename: Callable[[str], str | None]
    """From the tensor's Hugging Face name to the stored one; None leaves the tensor out."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Tensors that are stored although the model may share them with another: name to the other's name."""
    tokenizer: bool = True
    """Whether the model reads text, so that tokenizer.json belongs to it."""


# config.json's model_type: "module:converter".
CONVERTERS: dict[str, str] = {
    "bert": "aios_db.engine.convert.bert:CONVERTER",
    "clip": "aios_db.engine.convert.clip:CONVERTER",
    "clip_vision_model": "aios_db.engine.convert.clip:CONVERTER",
    "llama": "aios_db.engine.convert.qwen2:CONVERTER",
    "qwen2": "aios_db.engine.convert.qwen2:CONVERTER",
    "whisper": "aios_db.engine.convert.whisper:CONVERTER",
}


def find_converter(model_type: str) -> Converter:
    """Return the converter of a Hugging Face ``model_type``.

    Raises
    ------
    NotSupportedError
        None is registered.
    """
    if model_type not in CONVERTERS:
        raise NotSupportedError(f"model_type {model_type!r} is not one of {', '.join(CONVERTERS)}")
    module, name = CONVERTERS[model_type].split(":")
    converter: Converter = getattr(import_module(module), name)
    return converter
