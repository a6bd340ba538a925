"""What a converter of Hugging Face models is, and which one reads which model; architectures name theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_db.engine.architectures.kinds import load
from aios_db.engine.architectures.registry import ARCHITECTURES
from aios_db.schema.errors import NotSupportedError

if TYPE_CHECKING:
    import torch

    Tensors = Iterable[tuple[str, torch.Tensor]]


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
    beside: Mapping[str, str] = field(default_factory=dict)
    """What else is written of a whole model: its ``model_type`` by what follows the directory's name."""
    whole: Callable[[Mapping[str, Any]], bool] = lambda config: False
    """Whether config.json is that of a whole model, and not of a part that was saved alone."""
    adapt: Callable[[Path, Tensors], Iterator[tuple[str, torch.Tensor]]] | None = None
    """From the directory and the stored tensors to those that fit how the engine prepares an input."""


def find_converter(model_type: str) -> Converter:
    """Return the converter of a Hugging Face ``model_type``.

    Raises
    ------
    NotSupportedError
        None is registered.
    """
    converters = {key: name for row in ARCHITECTURES.values() for key, name in row.converters.items()}
    if model_type not in converters:
        raise NotSupportedError(f"model_type {model_type!r} is not one of {', '.join(sorted(converters))}")
    converter: Converter = load(converters[model_type])
    return converter
