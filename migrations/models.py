"""Bring model directories from V1 to V2, as floats or quantized, whole trees at once.

A directory is migrated in ``.migration`` inside it, step by step, with a journal: killed anywhere, it is
finished by the next run. The new weights are verified there; the last step moves them over
``weights.parquet``, which is atomic. Until then the model is the old one. The old files stay beside the new
ones until `prune`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from aios_db.engine.catalog.fingerprint import verified_fingerprint
from aios_db.engine.weights.files import atomic_write
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.migrations.journal import Journal
from aios_db.schema.advice import with_advice
from aios_db.schema.config import DeviceConfig, QuantizationConfig, ValidationConfig
from aios_db.schema.errors import IntegrityError, ModelNotFoundError, OperationalError, ValidationError
from aios_db.schema.progress import Progress, silent
from aios_db.schema.weights import METADATA_FILE, WEIGHTS_FILE

log = logging.getLogger("aios_db.migrations")

WORK = ".migration"
OLD_WEIGHTS, OLD_METADATA = "weights.v1.parquet", "metadata.v1.json"
_LOCK = ".migration.lock"


@dataclass(frozen=True)
class ModelMigration:
    """What became of one model directory."""

    path: Path
    changed: bool
    """False when it was V2 already."""
    version: int
    """Of the weight file now."""
    bytes_before: int
    bytes_after: int
    old_files: tuple[Path, ...]
    """Kept until `prune`."""


def find_models(root: str | Path) -> list[Path]:
    """Return the model directories at and under ``root``, sorted; hidden directories are not looked into.

    Raises
    ------
    ModelNotFoundError
        There is none.
    """
    found = []
    for directory, names, files in os.walk(Path(root)):
        names[:] = sorted(name for name in names if not name.startswith("."))
        path = Path(directory)
        if WEIGHTS_FILE in files or f"{path.resolve().name}.parquet" in files:
            found.append(path)
    if not found:
        raise ModelNotFoundError(f"{root} holds no model directory (no {WEIGHTS_FILE})")
    return sorted(found)


def weights_of(path: Path) -> Path:
    """Return the weight file of a model directory."""
    return ModelDirectory.open(path).weights


def migrate_models(
    root: str | Path,
    *,
    quantize: QuantizationConfig | None = None,
    calibration: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    validation: ValidationConfig | None = None,
    device: DeviceConfig | None = None,
    progress: Progress = silent,
) -> list[ModelMigration]:
    """Migrate every model directory at and under ``root``; those that are V2 stay as they are.

    Parameters
    ----------
    quantize
        How to quantize; None keeps the floats, bit for bit (bfloat16 becomes float32).
    calibration, files
        For the quantizer: texts, and for encoders of sounds and pictures files or folders. The validator is
        given the half of them that the quantizer may not see.
    validation
        Thresholds that quantized weights must meet.
    device
        Where to quantize.

    Raises
    ------
    ModelNotFoundError
        There is no model.
    WeightsError
        A weight file cannot be read; its directory stays as it is, and those after it are not begun.
    ValidationError
        Quantized weights were refused; the old ones stay. The report is in the directory's ``.migration``.
    IntegrityError
        What was written is not what was read; the old weights stay.
    OperationalError
        The disk fails, or another process is at it.
    """
    results = []
    for path in find_models(root):
        with _locked(path):
            task = _Task(
                path,
                quantize,
                calibration,
                files,
                validation=validation or ValidationConfig(),
                device=device or DeviceConfig(),
                progress=progress,
            )
            results.append(task.run())
    return results


def prune(root: str | Path) -> list[Path]:
    """Delete the old files of migrated models at and under ``root``; return what was deleted."""
    deleted = []
    for path in find_models(root):
        with _locked(path):
            for file in _old_files(path):
                file.unlink()
                deleted.append(file)
    return deleted


class _Task:
    """The migration of one directory."""

    def __init__(
        self,
        path: Path,
        quantize: QuantizationConfig | None,
        calibration: Sequence[str],
        files: Sequence[str | Path],
        *,
        validation: ValidationConfig,
        device: DeviceConfig,
        progress: Progress,
    ) -> None:
        self.path, self.work, self.built = path, path / WORK, path / WORK / path.resolve().name
        self.quantize, self.calibration, self.files = quantize, calibration, files
        self.validation, self.device, self.progress = validation, device, progress

    def run(self) -> ModelMigration:
        """Do what is left to do."""
        directory = ModelDirectory.open(self.path)
        with WeightFile(directory.weights) as file:
            version, before = file.version, directory.weights.stat().st_size
            if version == 1:
                self._migrate(directory, file)
        shutil.rmtree(self.work, ignore_errors=True)  # after a kill, the work is left though all is done
        after = (self.path / WEIGHTS_FILE if version == 1 else directory.weights).stat().st_size
        return ModelMigration(self.path, version == 1, 2, before, after, tuple(_old_files(self.path)))

    def _migrate(self, directory: ModelDirectory, file: WeightFile) -> None:
        plan = {
            "sha256": verified_fingerprint(file),
            "quantize": asdict(self.quantize) if self.quantize else None,
            "calibration": _digest([*self.calibration, *map(str, self.files)]) if self.quantize else None,
        }
        journal = Journal.open(self.work, plan)
        steps: dict[str, Callable[[ModelDirectory, WeightFile], None]] = {
            "converted": self._quantize if self.quantize else self._convert,
            "verified": self._verify,
            "old files kept": self._keep,
        }
        for name, step in steps.items():
            if name not in journal.done:
                step(directory, file)
                journal.add(name)
                self._report(name)
        # The weights last: until they are moved, what lies beside them is read with the old ones as well.
        for name in (METADATA_FILE, "validation.json", "validation.html", WEIGHTS_FILE):
            if (self.built / name).exists():
                os.replace(self.built / name, self.path / name)
                self._report(f"switched {name}")

    def _convert(self, directory: ModelDirectory, file: WeightFile) -> None:
        self.built.mkdir(exist_ok=True)

        def layers() -> Iterator[StoredTensor]:
            for name in file.layers:
                yield _float_layer(file, name)
                self._report(f"wrote {name}")
                file.drop_cache()

        digest = write_weights(self.built / WEIGHTS_FILE, layers(), version=2)
        if directory.metadata:
            metadata = {**directory.metadata, "content_sha256": digest}
            text = json.dumps(metadata, indent=1, ensure_ascii=False)
            (self.built / METADATA_FILE).write_text(text, encoding="utf-8")

    def _quantize(self, directory: ModelDirectory, file: WeightFile) -> None:
        from aios_db.engine.quantization.quantizer import quantize_model

        assert self.quantize is not None
        if not self.built.exists():  # it appears when it is complete
            quantize_model(
                directory.path, self.built,
                calibration=self.calibration, files=self.files, config=self.quantize,
                device=self.device, progress=self.progress, validation=self.validation,
            )  # fmt: skip

    def _verify(self, directory: ModelDirectory, file: WeightFile) -> None:
        from aios_db.engine.catalog.report import load_report
        from aios_db.engine.validation.validator import validate_version

        with WeightFile(self.built / WEIGHTS_FILE) as new:
            verified_fingerprint(new)
            _check_same_layers(file, new)
            if not self.quantize:
                _check_same_values(file, new)
        if self.quantize:
            report = load_report(self.built)
            if report is None or not report.passed or report.min_cosine < self.validation.min_cosine:
                # Made by an earlier run, with other thresholds.
                report = validate_version(
                    directory.path, self.built, self.calibration, self.validation, self.files,
                    device=self.device,
                )  # fmt: skip
            if not report.passed:
                raise ValidationError(
                    f"{directory.path} stays V1, its quantized weights were refused: "
                    f"{'; '.join(report.failures)}; see {self.built / 'validation.html'}"
                )

    def _keep(self, directory: ModelDirectory, _: WeightFile) -> None:
        if directory.weights.name == WEIGHTS_FILE:
            _link(directory.weights, self.path / OLD_WEIGHTS)
        if (self.path / METADATA_FILE).exists():
            _link(self.path / METADATA_FILE, self.path / OLD_METADATA)

    def _report(self, step: str) -> None:
        log.info("%s: %s", self.path, step)
        self.progress(step, 0, 0)


def _digest(calibration: Sequence[str]) -> str:
    joined = "\0".join(calibration)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def _float_layer(file: WeightFile, name: str) -> StoredTensor:
    """Return a V1 tensor as V2 has it: its bytes unchanged, but for bfloat16, which V2 does not know."""
    layer = file.raw(name)
    dtype = layer.info.stored_dtype(layer.data.size)
    if dtype == "bfloat16":
        return StoredTensor(replace(layer.info, quant_type="fp32"), file.array(name))
    quant_type = {"float32": "fp32", "float16": "fp16"}.get(dtype, "")
    return StoredTensor(replace(layer.info, quant_type=quant_type), layer.data)


def _check_same_layers(old: WeightFile, new: WeightFile) -> None:
    if list(old.layers) != list(new.layers):
        raise IntegrityError(
            f"{new.path} has {len(new.layers)} tensors where {old.path} has {len(old.layers)}"
        )
    for name, info in new.layers.items():
        if info.shape != old.layers[name].shape:
            raise IntegrityError(f"{new.path}: layer {name!r} has another shape than in {old.path}")


def _check_same_values(old: WeightFile, new: WeightFile) -> None:
    for name in old.layers:
        if not np.array_equal(old.array(name), new.array(name)):
            raise IntegrityError(f"{new.path}: layer {name!r} has other values than in {old.path}")
        old.drop_cache()


def _old_files(path: Path) -> list[Path]:
    """Return the old files of a directory whose weights are V2."""
    named = path / f"{path.resolve().name}.parquet"  # as older converters called the weights
    candidates = [path / OLD_WEIGHTS, path / OLD_METADATA]
    if named.name != WEIGHTS_FILE:
        candidates.append(named)
    found = [file for file in candidates if file.exists()]
    if not found or not (path / WEIGHTS_FILE).exists():
        return []
    with WeightFile(path / WEIGHTS_FILE) as current:
        return found if current.version == 2 else []


def _link(file: Path, target: Path) -> None:
    """Give a file a second name, or, where the file system cannot, copy it."""
    if target.exists():
        return
    try:
        os.link(file, target)
    except OSError:
        with atomic_write(target, alone=True) as part:
            shutil.copy2(file, part)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        with FileLock(path / _LOCK, timeout=1):
            yield
    except Timeout as error:
        raise OperationalError(f"another process is migrating {path}") from error
    except OSError as error:
        raise OperationalError(
            f"migrating {path} failed: {with_advice(error, 'run it again', 'fix the permissions')}"
        ) from error
