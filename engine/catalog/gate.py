"""Nothing bypasses the validator: a quantized model is opened only with its passing report.

`aios_db.engine.catalog.open_model`, through which every encoder and language model goes, asks here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from aios_db.engine.catalog.fingerprint import verified_fingerprint
from aios_db.engine.catalog.report import ValidationReport, load_report
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import ValidationConfig
from aios_db.schema.errors import ValidationError

log = logging.getLogger("aios_db.engine.validation")


@dataclass(frozen=True)
class Candidate:
    """A model that is opened to be judged or measured, and not for its answers to be used."""

    path: Path


def check(
    directory: ModelDirectory, file: WeightFile, config: ValidationConfig, *, integers: bool
) -> ValidationReport | None:
    """Return the passing report of a model; None for a float model, which needs none.

    Where there is a report the bytes of the weights are read and hashed. Quantized files of older writers,
    which came without a report, are let through with a warning.

    Parameters
    ----------
    config
        Thresholds that hold now, whatever held when the report was made.
    integers
        Whether the model is about to compute from its integers: a report made in floats says nothing of that.

    Raises
    ------
    ValidationError
        The weights are quantized and have no report, their report is of other weights, was made by lower
        thresholds or in finer arithmetic, or is a refusal (this too for float models that were validated).
    WeightsError
        The weights or the report cannot be read, or the weights are not what their file says.
    """
    again = f"aios models validate {directory.path} --original DIR"
    report = load_report(directory.path)
    if report is None:
        if not any(info.is_quantized for info in file.layers.values()):
            return None
        if file.content_sha256 is not None:
            raise ValidationError(f"{directory.path} is quantized and was never validated: {again}")
        log.warning("%s is quantized and older than the validator: validate it", directory.path)
        return None
    digest = verified_fingerprint(file)
    if digest == report.original.sha256 != report.candidate.sha256:
        return None  # the original that a candidate, about to take its place, was compared with
    if digest != report.candidate.sha256:
        raise ValidationError(
            f"{directory.path}: the validation report is of other weights than these; validate them: {again}"
        )
    if not report.passed:
        raise ValidationError(f"{directory.path} was refused: {'; '.join(report.failures)}")
    measured = report.vectors.cosine_mean if report.vectors else None
    if measured is not None and not measured >= config.min_cosine:
        raise ValidationError(
            f"{directory.path} was validated at {report.min_cosine:g} and reached a mean cosine of "
            f"{measured:.4f}, below the {config.min_cosine:g} of validation.min_cosine: quantize the "
            "original in more bits, or lower validation.min_cosine"
        )
    if integers and not report.measured_integers:
        raise ValidationError(
            f"{directory.path} was validated in floats ({report.arithmetic}) and runs on its integers here, "
            f"which round more: {again}"
        )
    return report
