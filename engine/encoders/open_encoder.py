"""Open the encoder that serves a model, whatever the model takes."""

from __future__ import annotations

from pathlib import Path

from aios_db.engine.architectures.kinds import load
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.catalog.find import find_model
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.encoder import Encoder
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, EngineConfig, ValidationConfig
from aios_db.schema.errors import NotSupportedError


def open_encoder(
    model: str | Path | Candidate,
    *,
    engine: EngineConfig = DEFAULTS.engine,
    cpu: CpuConfig = DEFAULTS.cpu,
    device: DeviceConfig = DEFAULTS.device,
    validation: ValidationConfig = DEFAULTS.validation,
) -> Encoder:
    """Return the encoder of texts, sounds or pictures that a model directory is for.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine, cpu, device, validation
        Sections of the configuration.

    Raises
    ------
    NotSupportedError
        The model makes no vectors, or its architecture is not known.
    ModelNotFoundError, ValidationError, WeightsError
        As the encoder raises them.
    """
    named = model.path if isinstance(model, Candidate) else model
    directory = ModelDirectory.open(find_model(str(named), engine.models_dir))
    kind = kind_of(directory)
    if kind is None or kind.encoder is None:
        what = "an unknown architecture" if kind is None else f"a {kind.name} model"
        raise NotSupportedError(f"{directory.path} holds {what}, which no encoder serves")
    encoder: Encoder = load(kind.encoder)(model, engine=engine, cpu=cpu, device=device, validation=validation)
    return encoder
