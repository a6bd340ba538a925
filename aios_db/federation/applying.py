"""A card on a model: beside its weights at run time, or merged into a model directory of its own."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aios_db.engine.architectures.adapters import Adapter, LowRank
from aios_db.engine.weights.building import building
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.federation.card import LoraCard
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, ValidationConfig
from aios_db.schema.errors import NotSupportedError, OperationalError, WeightsError
from aios_db.schema.weights import WEIGHTS_FILE

if TYPE_CHECKING:
    from aios_db.engine.catalog.report import ValidationReport


def adapter(card: LoraCard, model: str | Path) -> Adapter:
    """Return a card as what `ArrowEngine` and others run beside the weights of a model directory.

    Raises
    ------
    WeightsError
        The card is of another model: a module is missing or has other sizes.
    """
    with WeightFile(ModelDirectory.open(model).weights) as file:
        names = layer_names(card, file)
    layers = {
        names[module]: LowRank(factors.a, factors.b, card.scale(module))
        for module, factors in card.modules.items()
    }
    return Adapter(card.version, layers)


def merge(card: LoraCard, model: str | Path, target: str | Path) -> Path:
    """Write the new model directory ``target``: the model with the card's changes added to its weights.

    Raises
    ------
    OperationalError
        ``target`` exists.
    NotSupportedError
        The model is quantized; merge into what it was made of, and quantize the result.
    WeightsError
        The card is of another model.
    """
    source, target = ModelDirectory.open(model), Path(target)
    if target.exists():
        raise OperationalError(f"{target} exists: choose another directory or remove it first")
    with WeightFile(source.weights) as file:
        names = layer_names(card, file)
        quantized = next(
            (name for name in names.values() if file.layers[f"{name}.weight"].is_quantized), None
        )
        if quantized is not None:
            raise NotSupportedError(
                f"{source.path} is quantized ({quantized}): merge the card into the model that it was "
                "made of, and quantize the result"
            )
        with building(target) as build:
            for each in source.path.iterdir():
                # What was made from the weights is not that of the merged ones.
                if each.name == "tokenizer":
                    shutil.copytree(each, build / each.name)
                elif each.suffix == ".json" and not each.name.startswith((".", "validation")):
                    shutil.copy(each, build / each.name)
            write_weights(
                build / WEIGHTS_FILE, _merged(card, file, names), version=1 if file.version == 1 else 2
            )
            build.rename(target)
    return target


def merge_validated(
    card: LoraCard,
    model: str | Path,
    target: str | Path,
    *,
    texts: Sequence[str] = (),
    config: ValidationConfig = DEFAULTS.validation,
    cpu: CpuConfig = DEFAULTS.cpu,
    device: DeviceConfig = DEFAULTS.device,
) -> ValidationReport:
    """`merge`, and judge how far the card moves the model's vectors, on ``texts`` or on bundled ones.

    The report lies in ``target``; where it did not pass, the gate keeps the model from being used.
    """
    from aios_db.engine.validation.validator import PrecisionValidator

    path = merge(card, model, target)
    return PrecisionValidator(config, cpu, device).validate(model, path, texts)


def layer_names(card: LoraCard, file: WeightFile) -> dict[str, str]:
    """Return the name in a weight file of each of a card's modules, without ``.weight``.

    A card may name them as a larger model has them: ``bert.encoder.layer.0…`` is ``encoder.layer.0…`` too.

    Raises
    ------
    WeightsError
        A module is not in the file, or has other sizes there.
    """
    names = {module: _name(module, file.layers) for module in card.modules}
    for module, name in names.items():
        if name is None:
            raise WeightsError(f"{file.path} has no layer {module!r}: {card.version} is of another model")
        factors, shape = card.modules[module], file.layers[f"{name}.weight"].shape
        if (factors.b.shape[0], factors.a.shape[1]) != shape:
            changed = [factors.b.shape[0], factors.a.shape[1]]
            raise WeightsError(
                f"{card.version} changes {module!r} as {changed}, {file.path} has it as {list(shape)}: "
                "the card is of another model"
            )
    return {module: name for module, name in names.items() if name is not None}


def _name(module: str, layers: Collection[str]) -> str | None:
    parts = module.split(".")
    for start in range(len(parts)):
        name = ".".join(parts[start:])
        for candidate in (name, f"model.{name}"):
            if f"{candidate}.weight" in layers:
                return candidate
    return None


def _merged(card: LoraCard, file: WeightFile, names: dict[str, str]) -> Iterator[StoredTensor]:
    changed = {f"{name}.weight": module for module, name in names.items()}
    for name, info in file.layers.items():
        if name not in changed:
            yield file.raw(name)
            continue
        values = np.asarray(file.array(name), np.float32) + card.change(changed[name])
        if not np.isfinite(values).all():
            raise WeightsError(f"{card.version} makes {name!r} of {file.path} infinite")
        quant_type = "fp32" if info.quant_type else ""
        yield StoredTensor(
            replace(info, dtype="torch.float32", quant_type=quant_type), values.astype(np.float32)
        )
