"""Nothing bypasses the validator: a quantized model is used only with its passing report."""

from __future__ import annotations

import logging
from pathlib import Path

from aios_db.engine.fingerprint import verified_fingerprint
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.validation.report import ValidationReport, load_report
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import ValidationError

log = logging.getLogger("aios_db.engine.validation")


def require_valid(path: str | Path) -> ValidationReport | None:
    """Return the passing report of a model directory; None for a float model, which needs none.

    Where there is a report the bytes of the weights are read and hashed. Quantized files of older writers,
    which came without a report, are let through with a warning.

    Raises
    ------
    ValidationError
        The weights are quantized and have no report, their report is of other weights, or it is a refusal
        (this too for float models that were validated).
    WeightsError
        The weights or the report cannot be read, or the weights are not what their file says.
    """
    directory = ModelDirectory.open(path)
    file = WeightFile(directory.weights)
    try:
        report = load_report(directory.path)
        if report is None:
            if not any(info.is_quantized for info in file.layers.values()):
                return None
            if file.content_sha256 is not None:
                raise ValidationError(
                    f"{directory.path} is quantized and was never validated: "
                    f"aios models validate {directory.path} --original DIR"
                )
            log.warning("%s is quantized and older than the validator: validate it", directory.path)
            return None
        digest = verified_fingerprint(file)
        if digest == report.original.sha256 != report.candidate.sha256:
            return None  # the original that a candidate, about to take its place, was compared with
        if digest != report.candidate.sha256:
            raise ValidationError(
                f"{directory.path}: the validation report is of other weights than these; validate them again"
            )
    finally:
        file.close()
    if not report.passed:
        raise ValidationError(f"{directory.path} was refused: {'; '.join(report.failures)}")
    return report
