"""Ask the gate about a model directory, as opening it would."""

from __future__ import annotations

from pathlib import Path

from aios_db.engine.catalog.gate import check
from aios_db.engine.catalog.report import ValidationReport
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import DEFAULTS, ValidationConfig


def require_valid(
    path: str | Path, config: ValidationConfig = DEFAULTS.validation, *, integers: bool = False
) -> ValidationReport | None:
    """Return the passing report of a model directory; see `check`."""
    directory = ModelDirectory.open(path)
    with WeightFile(directory.weights) as file:
        return check(directory, file, config, integers=integers)
