"""Quantize a model directory: from float weights to a V2 directory beside it, resumable and atomic."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from aios_db.engine.catalog.fingerprint import fingerprint
from aios_db.engine.catalog.gate import check
from aios_db.engine.quantization.calibration import open_calibration
from aios_db.engine.quantization.checkpoint import Checkpoint
from aios_db.engine.quantization.device_fallback import on_device
from aios_db.engine.quantization.job import Job
from aios_db.engine.quantization.report import QuantizationReport
from aios_db.engine.quantization.rounding import PER_TENSOR
from aios_db.engine.quantization.steps import Outcome, run
from aios_db.engine.quantization.subject import block_linears
from aios_db.engine.quantization.v2 import Written, write_v2
from aios_db.engine.validation.validator import PrecisionValidator
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig, DeviceConfig, QuantizationConfig, ValidationConfig
from aios_db.schema.errors import OperationalError, ProgrammingError
from aios_db.schema.progress import Progress, silent
from aios_db.schema.weights import METADATA_FILE, WEIGHTS_FILE

log = logging.getLogger("aios_db.engine.quantization")


def quantize_model(
    source: str | Path,
    target: str | Path,
    *,
    calibration: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    config: QuantizationConfig = QuantizationConfig(),  # noqa: B008 - frozen
    sensitivity: Mapping[str, float] | None = None,
    device: DeviceConfig = DeviceConfig(),  # noqa: B008 - frozen
    progress: Progress = silent,
    validation: ValidationConfig = ValidationConfig(),  # noqa: B008 - frozen
    texts: Sequence[str] = (),
    cpu: CpuConfig = CpuConfig(),  # noqa: B008 - frozen
) -> QuantizationReport:
    """Quantize the model directory ``source`` into the new directory ``target``, and validate it.

    What is done so far is kept in a hidden directory beside ``target``; calling again with the same arguments
    after an interruption continues there. ``target`` appears when it is complete, with the report of its
    validation (`aios_db.engine.catalog.report.load_report`); when that is a refusal, nothing opens it.

    Parameters
    ----------
    calibration
        Texts like those the model will see. What the validator may use, which its own hash decides, is left
        out; see `aios_db.engine.validation.split`.
    files
        The same for encoders of sounds and pictures: paths of such files or of folders of them.
    config
        ``target``, ``method`` and the rest of the recipe.
    sensitivity
        What an earlier quantization of the same model measured, by layer (``recipe["sensitivity"]`` of its
        report); measured when it is not given.
    device
        Where to compute: CUDA, ROCm or MPS, else the CPU. What fails there is continued on the CPU.
    validation
        What the quantized model must reach.
    texts
        What it is validated on, at best the user's own memories; by default the texts of ``calibration``. Of
        both, only those that calibration may not see are used.
    cpu
        How it will run on a CPU; with ``device``, what it is validated in.

    Raises
    ------
    OperationalError
        ``target`` exists.
    ValidationError
        ``source`` is itself quantized, and not validated.
    NotSupportedError
        The model takes neither text nor sounds nor pictures.
    ProgrammingError
        Single rows are to have more bits, but all share one scale; a layer that is to keep 8 bits or to stay
        floats is not there, or no other is left.
    DataError
        There is nothing to calibrate with.
    DeviceError
        The device is not there or fails, and ``device.fallback_enabled`` is off.
    """
    started, target = time.monotonic(), Path(target)
    _check_recipe(config)
    directory = ModelDirectory.open(source)
    with WeightFile(directory.weights) as file:
        check(directory, file, validation, integers=False)
        if target.exists():
            raise OperationalError(f"{target} exists: choose another directory or remove it first")
        material = open_calibration(directory, calibration, files)
        work = target.parent / f".{target.name}.quantizing"
        work.mkdir(parents=True, exist_ok=True)
        task: dict[str, Any] = {
            "source": fingerprint(directory.path, file),
            "texts": material.sha256,
            "config": dataclasses.asdict(config),
            "sensitivity": dict(sensitivity or {}),
        }
        checkpoint = Checkpoint(work / "state.pt", task)

        def quantized(place: torch.device) -> Outcome:
            job = Job(
                directory, file, material, config, checkpoint,
                device=place, sensitivity=sensitivity, progress=progress,
            )  # fmt: skip
            return run(job)

        outcome = on_device(quantized, device)
    build = work / "model"
    written = _write(build, directory, outcome, config)
    report = QuantizationReport(
        source=str(directory.path),
        source_version=task["source"],
        target=str(target),
        quant_type=config.target,
        method=config.method,
        recipe={**dataclasses.asdict(config), "sensitivity": outcome.sensitivity},
        calibration_sha256=material.sha256,
        layers=written.layers,
        file_bytes=written.file_bytes,
        seconds=time.monotonic() - started,
    )
    _write_metadata(build, directory, report, written.sha256)
    PrecisionValidator(validation, cpu, device).validate(
        directory.path, build, texts or calibration, files, progress, name=target.resolve().name
    )
    os.rename(build, target)
    shutil.rmtree(work, ignore_errors=True)
    log.info("quantized %s to %s", directory.path, target, extra={"bits_linear": report.bits_linear})
    return report


def _check_recipe(config: QuantizationConfig) -> None:
    by_row = config.target == "int2" and config.mixed_precision and config.mixed_by == "row"
    if by_row and config.group_size == PER_TENSOR:
        raise ProgrammingError("mixed_by is 'row', whose scales group_size -1 takes away: make it 0 or more")


def _write(build: Path, directory: ModelDirectory, outcome: Outcome, config: QuantizationConfig) -> Written:
    """Write the quantized weights, and what lies beside the original ones, into ``build``."""
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(
        directory.path, build, ignore=shutil.ignore_patterns("*.parquet", METADATA_FILE, ".*"), symlinks=False
    )
    kept = {f"{name}.weight" for name in block_linears(outcome.model) if name not in outcome.layers}
    return write_v2(
        build / WEIGHTS_FILE,
        directory.weights,
        outcome.model,
        {f"{name}.weight": layer for name, layer in outcome.layers.items()},
        kept=kept,
        language_model=outcome.language_model,
        zero_points=config.int8_zero_points,
    )


def _write_metadata(build: Path, directory: ModelDirectory, report: QuantizationReport, digest: str) -> None:
    metadata = {
        **directory.metadata,
        "quantization": report.to_dict(),
        "content_sha256": digest,
        "quantized_at": datetime.now(timezone.utc).isoformat(),
    }
    (build / METADATA_FILE).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
