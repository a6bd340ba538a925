"""The models that made a database's vectors: named by digest in each backup, and copied on request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from aios_db.backup.manifest import Model
from aios_db.backup.objects import Entry, Objects
from aios_db.engine.catalog.find import find_weights
from aios_db.engine.catalog.fingerprint import verified_fingerprint
from aios_db.engine.weights.building import building
from aios_db.engine.weights.files import force_file, force_tree
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.models.versions import PLUGGED, WeightVersions
from aios_db.schema.errors import DataError, Error, ModelNotFoundError

_MADE_HERE = "backends"
_DIGITS = 12  # of the digest, in a version's name
Add = Callable[[str, Path], Entry]
"""Stores a file under a name."""


def known_models(versions: WeightVersions) -> list[Model]:
    """Return the weight versions of a database."""
    return [Model(each.version, each.sha256, each.is_active) for each in versions.all()]


def copied_models(versions: WeightVersions, add: Add) -> list[Model]:
    """Return the same with the files of each, which are stored; encoders that users register have none.

    Raises
    ------
    ModelNotFoundError
        The active version of a space is not on this machine; others that are not are left out.
    """
    found = []
    for each in versions.all():
        if each.schema_version == PLUGGED:
            found.append(Model(each.version, each.sha256, each.is_active))
            continue
        try:
            directory = versions.locate(each)
        except ModelNotFoundError:
            if each.is_active:
                raise
            found.append(Model(each.version, each.sha256, each.is_active))
            continue
        files = tuple(add(name, directory / name) for name in _files(directory))
        found.append(Model(each.version, each.sha256, each.is_active, files))
    return found


def install(model: Model, objects: Objects, models_dir: Path) -> Path | None:
    """Put a model of a backup among the installed ones; return where, or None when it is there already.

    Its directory has the model's name, or where that is taken by other weights, the digest besides.

    Raises
    ------
    DataError
        The backup names a file or a model that would lie outside of its directory, or holds other weights
        than those of the version.
    """
    name = model.version.rpartition("@")[0]
    for path in (name, model.version, *(entry.path for entry in model.files)):
        _refuse_outside(path)
    try:
        find_weights(model.version, [name], models_dir)
        return None
    except ModelNotFoundError:
        pass
    models_dir.mkdir(parents=True, exist_ok=True)
    place = models_dir / name
    if place.exists():
        place = models_dir / model.version.replace("@", "-")
    with building(place) as making:
        for entry in model.files:
            objects.copy(entry, making / entry.path)
        _refuse_others(model, making)
        force_tree(making)
        making.rename(place)
        force_file(models_dir)
    return place


def _refuse_others(model: Model, directory: Path) -> None:
    """Compare the weights with the digest that the version is named by."""
    try:
        with WeightFile(ModelDirectory.open(directory).weights) as file:
            found = verified_fingerprint(file)
    except (Error, OSError, ValueError) as error:
        raise DataError(
            f"the backup holds no weights of {model.version} that can be used: {error}"
        ) from error
    if found != model.sha256 or model.version.rpartition("@")[2] != found[:_DIGITS]:
        raise DataError(
            f"the backup holds weights with SHA-256 {found}, which are not those of {model.version} "
            f"({model.sha256}); nothing is installed or restored"
        )


def _refuse_outside(path: str) -> None:
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or "\\" in path or ".." in pure.parts or ":" in path:
        raise DataError(f"the backup names {path!r}, which lies outside of its model; it was tampered with")


def _files(directory: Path) -> list[str]:
    """Return the files of a model directory, without what was made of them for this machine."""
    names = (each.relative_to(directory) for each in directory.rglob("*") if each.is_file())
    return sorted(each.as_posix() for each in names if each.parts[0] != _MADE_HERE and each.name[0] != ".")
