"""A joint space as a model directory: weights.parquet and metadata.json, as every other model."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aios_db.engine.architectures.kinds import JOINT
from aios_db.engine.architectures.sizes import require_kind
from aios_db.engine.convert.model_writer import write_model
from aios_db.engine.encoders.codebook import Codebook
from aios_db.engine.encoders.features import RECIPE
from aios_db.engine.fusion.closed_form import Kernel
from aios_db.engine.fusion.joint_space import JointSpace, Projection, Ranking, Scaling
from aios_db.engine.fusion.perceptron import Perceptron
from aios_db.engine.weights.building import building
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import Error, WeightsError
from aios_db.schema.modalities import MODALITIES
from aios_db.schema.weights import METADATA_FILE

if TYPE_CHECKING:
    import torch

log = logging.getLogger("aios_db.engine.fusion")

ARCHITECTURE = "JointSpace"
_UNKNOWN = -1.0
_CONFIG_SUM = "config_sha256"


def save_space(space: JointSpace, target: Path, name: str, report: Mapping[str, Any]) -> None:
    """Write a space into the new directory ``target``, with a report of what it found when it was fitted.

    Raises
    ------
    OperationalError
        ``target`` exists.
    """
    config = {
        "encoders": dict(space.encoders),
        "features": RECIPE,
        "blocks": [list(each) for each in space.blocks],
        "starts": {name: each.scaling.start for name, each in space.projections.items()},
        "untrained": space.untrained,
    }
    described = {
        "model_type": "Joint space",
        "architecture": ARCHITECTURE,
        "config": config,
        _CONFIG_SUM: _sum_of(config),
        "fit": dict(report),
    }
    write_model(target, name, described, _tensors(space))


def place_space(space: JointSpace, models: Path, name: str, report: Mapping[str, Any]) -> Path:
    """Write a space into ``models`` under its name and digest, as a whole or not at all; return where.

    What is there under that name stays where it is the same space, and is replaced where it is damaged.
    """
    with building(models / name) as build:
        save_space(space, build / name, name, report)
        _, digest = load_space(build / name)
        target = models / f"{name}-{digest[:8]}"
        if not _is_whole(target, digest):
            if target.exists():
                target.rename(build / "damaged")
            try:
                (build / name).rename(target)
            except OSError:
                if not _is_whole(target, digest):  # else another process has put it there meanwhile
                    raise
        return target


def _is_whole(directory: Path, digest: str) -> bool:
    """Tell whether a space with this digest is in a directory and can be used."""
    try:
        return directory.exists() and load_space(directory)[1] == digest
    except Error as error:
        log.warning("%s is made anew: %s", directory, error)
        return False


def load_space(directory: Path) -> tuple[JointSpace, str]:
    """Return the space in a model directory, and the start of its digest, 12 hex digits.

    Raises
    ------
    WeightsError
        A file cannot be read, has changed since it was written, or is not that of a joint space.
    NotSupportedError
        It is another kind of model.
    """
    model = ModelDirectory.open(directory)
    with WeightFile(model.weights) as file:
        require_kind(model, file, JOINT)
        file.verify()
        if model.config.get("features") != RECIPE:
            raise WeightsError(f"{directory} is of features as another aios_db made them; fit it again")
        arrays = {name: np.asarray(file.array(name), np.float64) for name in file.layers}
        _refuse_changed(model, arrays)
        try:
            return _space(model.config, arrays), (file.content_sha256 or "")[:12]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WeightsError(f"{directory} holds no joint space: {error!r}; fit it again") from error


def _refuse_changed(model: ModelDirectory, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Refuse a description that is not the one that was written, or not that of the weights beside it.

    Of earlier spaces only the encoders are known, by the weights.
    """
    config = model.config
    written, told = model.metadata.get(_CONFIG_SUM), arrays.get("encoders")
    encoders = config.get("encoders")
    same = written is None or written == _sum_of(config)
    if told is not None and isinstance(encoders, Mapping):
        same = same and told.tolist() == list(_digest_of(encoders))
    if not same:
        raise WeightsError(f"{model.path / METADATA_FILE} has changed since it was written; fit it again")


def _sum_of(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config).encode()).hexdigest()


def _digest_of(encoders: Mapping[str, str]) -> bytes:
    versions = [str(RECIPE), *(f"{modality} {version}" for modality, version in encoders.items())]
    return hashlib.sha256("\n".join(versions).encode()).digest()


def _tensors(space: JointSpace) -> Iterator[tuple[str, torch.Tensor]]:
    for name, array in _arrays(space).items():
        import torch

        yield name, torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _arrays(space: JointSpace) -> dict[str, np.ndarray[Any, Any]]:
    count = len(space.blocks)
    rankings = np.full((len(MODALITIES), len(MODALITIES), count + 1), _UNKNOWN)
    for (asks, finds), ranking in space.rankings.items():
        rankings[MODALITIES.index(asks), MODALITIES.index(finds)] = [*ranking.blocks, ranking.spread]
    shares = np.full((len(MODALITIES),) * 3, _UNKNOWN)
    for names, share in space.shares.items():
        shares[tuple(MODALITIES.index(each) for each in names)] = share
    arrays: dict[str, np.ndarray[Any, Any]] = {"rankings": rankings, "shares": shares}
    arrays["encoders"] = np.frombuffer(
        _digest_of(space.encoders), np.uint8
    )  # else spaces of two encoders may be of one version
    for name, projection in space.projections.items():
        arrays |= {
            f"{name}.mean": projection.scaling.mean,
            f"{name}.scale": projection.scaling.scale,
            f"{name}.weights": projection.weights,
            f"{name}.reliabilities": np.array(space.reliabilities[name]),
        }
        if (kernel := projection.kernel) is not None:
            arrays |= {f"{name}.kernel.{part}": np.asarray(value) for part, value in vars(kernel).items()}
        if (perceptron := projection.perceptron) is not None:
            arrays |= {f"{name}.perceptron.{part}": value for part, value in vars(perceptron).items()}
    for name, codebook in space.codebooks.items():
        arrays[f"{name}.codebook"] = codebook.flat()
    return arrays | {f"{name}.bank": bank for name, bank in space.banks.items()}


def _space(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> JointSpace:
    names = list(config["encoders"])
    rankings, shares = arrays["rankings"], arrays["shares"]
    return JointSpace(
        encoders=dict(config["encoders"]),
        blocks=tuple((str(name), int(end)) for name, end in config["blocks"]),
        projections={
            each: Projection(
                Scaling(arrays[f"{each}.mean"], arrays[f"{each}.scale"], int(config["starts"][each])),
                arrays[f"{each}.weights"],
                _kernel(arrays, each),
                _perceptron(arrays, each),
            )
            for each in names
        },
        reliabilities={each: tuple(arrays[f"{each}.reliabilities"].tolist()) for each in names},
        banks={each: arrays[f"{each}.bank"] for each in names if f"{each}.bank" in arrays},
        rankings={
            (asks, finds): Ranking(tuple(rankings[i, j, :-1].tolist()), float(rankings[i, j, -1]))
            for i, asks in enumerate(MODALITIES)
            for j, finds in enumerate(MODALITIES)
            if rankings[i, j, -1] != _UNKNOWN
        },
        shares={
            (first, second, finds): float(shares[i, j, k])
            for i, first in enumerate(MODALITIES)
            for j, second in enumerate(MODALITIES)
            for k, finds in enumerate(MODALITIES)
            if shares[i, j, k] != _UNKNOWN
        },
        untrained=bool(config.get("untrained", False)),
        codebooks={
            each: Codebook.of_flat(arrays[f"{each}.codebook"].astype(np.float32))
            for each in names
            if f"{each}.codebook" in arrays
        },
    )


def _kernel(arrays: Mapping[str, np.ndarray[Any, Any]], name: str) -> Kernel | None:
    if f"{name}.kernel.landmarks" not in arrays:
        return None
    landmarks, width, weights, offset = (
        arrays[f"{name}.kernel.{part}"] for part in ("landmarks", "width", "weights", "offset")
    )
    return Kernel(landmarks, float(width.item()), weights, offset)


def _perceptron(arrays: Mapping[str, np.ndarray[Any, Any]], name: str) -> Perceptron | None:
    parts = [each.name for each in fields(Perceptron)]
    if f"{name}.perceptron.{parts[0]}" not in arrays:
        return None
    return Perceptron(**{part: arrays[f"{name}.perceptron.{part}"] for part in parts})


def joint_sizes(directory: ModelDirectory, file: WeightFile) -> dict[str, Any]:
    """Return the configuration of a joint space."""
    return dict(directory.config)
