"""Quantize a model directory: from float weights to a V2 directory beside it, resumable and atomic."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aios_db.engine.catalog.fingerprint import fingerprint
from aios_db.engine.catalog.gate import require_valid
from aios_db.engine.quantization.allocation import layers_in_8_bits, rows_with_planes
from aios_db.engine.quantization.calibration import Calibration, open_calibration
from aios_db.engine.quantization.checkpoint import Checkpoint, pack_quantized, unpack_quantized
from aios_db.engine.quantization.distill import Distillation, DistillationSettings
from aios_db.engine.quantization.effort import effort
from aios_db.engine.quantization.gptq import GptqSettings
from aios_db.engine.quantization.layers import put_back, quantize_layers
from aios_db.engine.quantization.report import QuantizationReport
from aios_db.engine.quantization.rounding import PER_TENSOR, Grid, Quantized
from aios_db.engine.quantization.row_sensitivity import row_sensitivities
from aios_db.engine.quantization.sensitivity import sensitivities
from aios_db.engine.quantization.subject import Batch, block_linears, copied, load_model
from aios_db.engine.quantization.v2 import write_v2
from aios_db.engine.quantization.workplace import CPU, on_device
from aios_db.engine.validation.validator import PrecisionValidator
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig, DeviceConfig, QuantizationConfig, ValidationConfig
from aios_db.schema.errors import OperationalError, ProgrammingError
from aios_db.schema.weights import METADATA_FILE

log = logging.getLogger("aios_db.engine.quantization")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

SAVE_EVERY = 100  # steps of distillation
_STEPS = {"ptq": 300, "gptq": 1600, "full": 5000}  # of distillation, unless the configuration says
_BATCH = 2048  # tokens of a batch that rounding and GPTQ look at
_ROUNDING_TOKENS = {"int8": 4096, "int2": 40_000}  # enough for means, and for the inputs' sizes
_PROBES = 2  # batches whose output tells the sensitivity; on the next ones layers are fitted
_DRAWN, _TEXTS_OF_A_BATCH = 16, 32  # batches, and texts of each, that the sensitivity of rows is drawn from


def quantize_model(
    source: str | Path,
    target: str | Path,
    *,
    calibration: Sequence[str | Path],
    config: QuantizationConfig = QuantizationConfig(),  # noqa: B008 - frozen
    sensitivity: Mapping[str, float] | None = None,
    device: DeviceConfig = DeviceConfig(),  # noqa: B008 - frozen
    progress: Progress | None = None,
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
        Texts like those the model will see, or, for encoders of sounds and pictures, paths of such files or
        of folders of them. What the validator may use, which its own hash decides, is left out; see
        `aios_db.engine.validation.split`.
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
    by_row = config.target == "int2" and config.mixed_precision and config.mixed_by == "row"
    if by_row and config.group_size == PER_TENSOR:
        raise ProgrammingError("mixed_by is 'row', whose scales group_size -1 takes away: make it 0 or more")
    directory = ModelDirectory.open(source)
    require_valid(directory.path, validation)
    if target.exists():
        raise OperationalError(f"{target} exists: choose another directory or remove it first")
    material = open_calibration(directory, calibration)
    file = WeightFile(directory.weights)
    version = fingerprint(directory.path, file)
    file.close()
    work = target.parent / f".{target.name}.quantizing"
    work.mkdir(parents=True, exist_ok=True)
    task: dict[str, Any] = {
        "source": version,
        "texts": material.sha256,
        "config": dataclasses.asdict(config),
        "sensitivity": dict(sensitivity or {}),
    }
    checkpoint = Checkpoint(work / "state.pt", task)

    def run(place: torch.device) -> tuple[nn.Module, dict[str, Quantized], dict[str, float]]:
        return _Job(
            directory,
            material,
            config,
            checkpoint,
            device=place,
            sensitivity=sensitivity,
            progress=progress or _silent,
        ).run()

    model, quantized, measured = on_device(run, device)
    build = work / "model"
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(
        directory.path, build, ignore=shutil.ignore_patterns("*.parquet", METADATA_FILE, ".*"), symlinks=False
    )
    by_weight = {f"{name}.weight": layer for name, layer in quantized.items()}
    kept = {f"{name}.weight" for name in block_linears(model) if name not in quantized}
    layers, file_bytes, digest = write_v2(
        build, directory, model, by_weight, kept=kept, zero_points=config.int8_zero_points
    )
    report = QuantizationReport(
        source=str(directory.path),
        source_version=version,
        target=str(target),
        quant_type=config.target,
        method=config.method,
        recipe={**dataclasses.asdict(config), "sensitivity": measured},
        calibration_sha256=task["texts"],
        layers=layers,
        file_bytes=file_bytes,
        seconds=time.monotonic() - started,
    )
    _write_metadata(build, directory, report, digest)
    PrecisionValidator(validation, cpu, device).validate(
        directory.path,
        build,
        texts or [each for each in calibration if isinstance(each, str)],
        [each for each in calibration if isinstance(each, Path)],
        progress,
        name=target.resolve().name,
    )
    os.rename(build, target)
    shutil.rmtree(work, ignore_errors=True)
    log.info("quantized %s to %s", directory.path, target, extra={"bits_linear": report.bits_linear})
    return report


class _Job:
    """The steps of one quantization, each skipped when the checkpoint has its result."""

    def __init__(
        self,
        directory: ModelDirectory,
        calibration: Calibration,
        config: QuantizationConfig,
        checkpoint: Checkpoint,
        *,
        device: torch.device,
        sensitivity: Mapping[str, float] | None,
        progress: Progress,
    ) -> None:
        self.config, self.checkpoint, self.progress = config, checkpoint, progress
        self.device = device
        self.reference = load_model(directory).to(device)
        self.linears = block_linears(self.reference)
        self.effort = effort(self.linears.values())
        self._calibration = calibration
        self._state = checkpoint.load()
        if sensitivity:
            self._state["sensitivity"] = dict(sensitivity)

    def run(self) -> tuple[nn.Module, dict[str, Quantized], dict[str, float]]:
        """Return, on the CPU, the quantized model, its quantized layers by name, and the sensitivities."""
        torch.manual_seed(self.config.seed)
        calibration = self._batches()
        grids, measured = self._grids(calibration)
        model = copied(self.reference)
        quantized = self._round(model, calibration, grids)
        if self._steps():
            quantized = self._distil(model, quantized)
        return model.to(CPU), {name: layer.to(CPU) for name, layer in quantized.items()}, measured

    def _batches(self) -> list[Batch]:
        batches = self._calibration.batches(self.reference, tokens=_BATCH, seed=self.config.seed)
        wanted = self.config.calibration_tokens
        if wanted < 0:
            wanted = self.effort.solved
        if self.config.method == "ptq":
            wanted = min(wanted, _ROUNDING_TOKENS[self.config.target])
        taken, tokens = [], 0
        for batch in batches:
            taken.append(batch.to(self.device))
            tokens += batch.positions
            if tokens >= wanted:
                break
        return taken

    def _grids(self, batches: Sequence[Batch]) -> tuple[dict[str, Grid], dict[str, float]]:
        """Return the grid of each layer that is quantized and, of mixed precision, the sensitivities."""
        measured: dict[str, float] = {}
        floats = self._named("keep_fp16")
        if self.config.fp16_layers:
            measured = self._measure_layers(batches)
            left = [name for name in measured if name not in floats]
            floats |= set(sorted(left, key=measured.__getitem__)[-self.config.fp16_layers :])
        large, eight = Grid(8, symmetric=not self.config.int8_zero_points), self._named("keep_int8")
        small = large if self.config.target == "int8" else self._small()
        grids = {name: large if name in eight else small for name in self.linears if name not in floats}
        if not grids:
            raise ProgrammingError("keep_fp16 and fp16_layers leave no layer to quantize")
        if self.config.target == "int8" or not self.config.mixed_precision:
            return grids, measured
        shapes = {name: tuple(linear.weight.shape) for name, linear in self.linears.items()}
        if self.config.mixed_by == "layer":
            measured = self._measure_layers(batches)
            chosen = layers_in_8_bits(measured, shapes, grids, max_bits=self.config.max_bits, large=large)
            return chosen, measured
        by_row = self._measure_rows(batches)
        measured = {name: float(rows.sum()) for name, rows in by_row.items()}
        chosen = rows_with_planes(
            by_row, shapes, grids, max_bits=self.config.max_bits, min_int2=self.config.min_int2
        )
        return chosen, measured

    def _named(self, setting: str) -> set[str]:
        """Return the layers whose names have one of the parts that a setting lists."""
        parts = [part.strip() for part in getattr(self.config, setting).split(",") if part.strip()]
        found = {part: {name for name in self.linears if part in name} for part in parts}
        missing = [part for part, names in found.items() if not names]
        if missing:
            known = ", ".join(sorted(self.linears))
            raise ProgrammingError(f"{setting}: {missing[0]!r} is in no layer's name; there are {known}")
        return set().union(*found.values())

    def _measure_layers(self, batches: Sequence[Batch]) -> dict[str, float]:
        known: dict[str, float] = dict(self._state.get("sensitivity", {}))
        left = [name for name in self.linears if name not in known]
        if left:
            fitted = batches[_PROBES : _PROBES + -(-self.effort.measured // _BATCH)] or batches
            probes = [batch.shortened(self.effort.probed // _PROBES) for batch in batches[:_PROBES]]

            def save(measured: Mapping[str, float]) -> None:
                self._state["sensitivity"] = {**known, **measured}
                self.checkpoint.save(self._state)

            sensitivities(
                self.reference, fitted, probes,
                grids=dict.fromkeys(left, self._small()), settings=self._gptq(refinements=0),
                done=self._counted("measuring sensitivity", len(known)), advanced=save,
            )  # fmt: skip
        return dict(self._state["sensitivity"])

    def _measure_rows(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        if "row_sensitivity" not in self._state:
            shown = [
                batch.first(_TEXTS_OF_A_BATCH).shortened(self.effort.probed) for batch in batches[:_DRAWN]
            ]

            def done(count: int) -> None:
                self.progress("measuring sensitivity", count, 2 * len(shown))

            self._state["row_sensitivity"] = row_sensitivities(
                self.reference, self.linears, shown, self._small(), seed=self.config.seed, done=done
            )
            self.checkpoint.save(self._state)
        return dict(self._state["row_sensitivity"])

    def _round(
        self, model: nn.Module, batches: Sequence[Batch], grids: dict[str, Grid]
    ) -> dict[str, Quantized]:
        if "model" in self._state:
            model.load_state_dict(self._state["model"], strict=False)
        known = unpack_quantized(self._state.get("layers", {}))
        if len(known) == len(grids):
            put_back(model, known)
            return known
        count = self._counted("rounding" if self.config.method == "ptq" else "GPTQ", len(known))
        settings = None if self.config.method == "ptq" else self._gptq(self.config.refinements)
        done = dict(known)

        def keep(name: str, layer: Quantized, error: float) -> None:
            count(name, layer, error)
            done[name] = layer
            log.debug("quantized %s: %.4f of the output's size", name, error)

        def save() -> None:
            # Weights follow from the integers.
            biases = {name: each for name, each in model.state_dict().items() if each.dim() == 1}
            self._state |= {"layers": pack_quantized(done), "model": biases}
            self.checkpoint.save(self._state)

        return quantize_layers(
            self.reference, model, batches,
            grids=grids, settings=settings, done=keep, known=known, advanced=save,
        )  # fmt: skip

    def _steps(self) -> int:
        if self.config.target == "int8":
            return 0
        steps = self.config.distillation_steps
        if steps < 0:
            if self.effort.distilled:
                return _STEPS[self.config.method]
            log.warning("a model of this size is not distilled unless a number of steps is given")
            return 0
        return steps

    def _distil(self, model: nn.Module, quantized: dict[str, Quantized]) -> dict[str, Quantized]:
        settings = DistillationSettings(
            self._steps(),
            self.config.learning_rate,
            moving=self.config.method != "ptq",
            seed=self.config.seed,
        )
        training = Distillation(self.reference, model, quantized, settings)
        if "distillation" in self._state:
            training.restore(self._state["distillation"])
        batches = self._calibration.batches(
            self.reference, tokens=self.config.distillation_tokens, seed=self.config.seed
        )

        def save(state: dict[str, Any]) -> None:
            self.checkpoint.save({**self._state, "distillation": state})

        def count(step: int, _: float) -> None:
            self.progress("distilling", step, settings.steps)

        return training.run(batches, count, save, every=SAVE_EVERY)

    def _small(self) -> Grid:
        return Grid(2, self.config.group_size, self.config.symmetric)

    def _gptq(self, refinements: int) -> GptqSettings:
        return GptqSettings(self.config.damping, self.config.act_order, refinements)

    def _counted(self, what: str, already: int = 0) -> Callable[[str, Quantized, float], None]:
        count = already

        def done(_: str, __: Quantized, ___: float) -> None:
            nonlocal count
            count += 1
            self.progress(what, count, len(self.linears))

        return done


def _write_metadata(build: Path, directory: ModelDirectory, report: QuantizationReport, digest: str) -> None:
    metadata = {
        **directory.metadata,
        "quantization": report.to_dict(),
        "content_sha256": digest,
        "quantized_at": datetime.now(timezone.utc).isoformat(),
    }
    (build / METADATA_FILE).write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _silent(_: str, __: int, ___: int) -> None:
    pass
