"""Read the weights of a Hugging Face directory: safetensors, or the older pytorch_model*.bin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.engine.convert.registry import Converter
from aios_db.engine.convert.sentence import read_json
from aios_db.schema.errors import MissingExtraError, ModelNotFoundError, WeightsError

if TYPE_CHECKING:
    import torch

    from aios_db.engine.convert.registry import Tensors


def stored_tensors(source: Path, converter: Converter) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (stored name, tensor) of every weight, one in memory at a time, in the files' order.

    A tensor that is tied to another and absent comes last, as a copy of the other.

    Raises
    ------
    ModelNotFoundError
        There are no weights in ``source``.
    WeightsError
        A file cannot be read.
    MissingExtraError
        The weights are safetensors and the package is not installed.
    """
    written: set[str] = set()
    tied: dict[str, torch.Tensor] = {}
    for name, tensor in _tensors(source):
        stored = converter.rename(name)
        if stored is None:
            continue
        written.add(stored)
        tied |= {copy: tensor for copy, original in converter.tied.items() if original == stored}
        yield stored, tensor
    yield from ((copy, tensor) for copy, tensor in tied.items() if copy not in written)


def required(tensors: Tensors, names: Sequence[str], source: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield tensors, and raise a `WeightsError` where one of some names was not among them."""
    missing = set(names)
    for name, tensor in tensors:
        missing.discard(name)
        yield name, tensor
    if missing:
        raise WeightsError(
            f"the weights in {source} have no {min(missing)!r}: they are a part of a model, or without the "
            "projection to its vectors; give the whole model"
        )


def _tensors(source: Path) -> Iterator[tuple[str, torch.Tensor]]:
    if files := _of_one_model(source):
        yield from _safetensors(files)
    elif files := sorted(source.glob("pytorch_model*.bin")):
        yield from _pickled(files)
    else:
        raise ModelNotFoundError(f"{source} holds no *.safetensors and no pytorch_model*.bin")


def _of_one_model(source: Path) -> list[Path]:
    """Return the safetensors that transformers would read: a directory may hold them in other types, too."""
    files = sorted(source.glob("*.safetensors"))
    index = read_json(source / "model.safetensors.index.json")
    named = {"model.safetensors"}
    if isinstance(index.get("weight_map"), dict):
        named |= {str(each) for each in index["weight_map"].values()}
    return [file for file in files if file.name in named] or files


def _safetensors(files: list[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise MissingExtraError("safetensors", "convert", "converting a Hugging Face model") from None
    with ExitStack() as stack:
        for path in files:
            try:
                weights = stack.enter_context(safe_open(path, framework="pt"))
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    yield name, weights.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise WeightsError(f"{path} cannot be read: {error}") from error


def _pickled(files: list[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    for path in files:
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # unpickling raises whatever the bytes make it
            raise WeightsError(f"{path} cannot be read: {error}") from error
        yield from weights.items()
