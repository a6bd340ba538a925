"""Whether a converted or quantized model may stand in for the one it was made of."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

import numpy as np

from aios_db.engine.architectures.kinds import Kind, media_files
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.catalog.fingerprint import verified_fingerprint
from aios_db.engine.catalog.gate import check
from aios_db.engine.catalog.report import (
    PerplexityMetrics,
    Subject,
    ValidationReport,
    VectorMetrics,
    save_report,
)
from aios_db.engine.validation.measurement import measure
from aios_db.engine.validation.page import render
from aios_db.engine.validation.split import bundled_texts, validation_files, validation_side
from aios_db.engine.validation.tensors import bits_per_weight, layer_errors
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.advice import with_advice
from aios_db.schema.amounts import amount
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, ValidationConfig
from aios_db.schema.errors import OperationalError
from aios_db.schema.progress import Progress, silent

log = logging.getLogger("aios_db.engine.validation")

MIN_TEXTS = 64  # with fewer, bundled sentences are added
_UNSPARED = 100_000_000  # weights up to which a model is shown as many texts as the configuration says
MIN_FILES = 8  # with fewer, made inputs take their place


# How the original computes: plain, and in floats where it is itself quantized.
_PLAIN, _ON_CPU = CpuConfig(backend="standard", precision="fp32"), DeviceConfig(target="cpu")

Item = TypeVar("Item")


class PrecisionValidator:
    """Compares a candidate with its original on texts that no calibration has seen.

    Parameters
    ----------
    config
        Thresholds, and how many texts to use.
    cpu, device
        How the candidate will run: the same back end, precision and batches compute its side, those that
        ``auto`` chooses included. The original is computed by the standard back end in fp32.
    """

    def __init__(
        self,
        config: ValidationConfig | None = None,
        cpu: CpuConfig = DEFAULTS.cpu,
        device: DeviceConfig = DEFAULTS.device,
    ) -> None:
        self.config = config or ValidationConfig()
        self._ways = (_PLAIN, _ON_CPU), (cpu, device)

    def validate(
        self,
        original: str | Path,
        candidate: str | Path,
        texts: Sequence[str] = (),
        files: Sequence[str | Path] = (),
        progress: Progress = silent,
        *,
        name: str | None = None,
    ) -> ValidationReport:
        """Measure, judge, and leave validation.json and validation.html in the candidate's directory.

        A failure is logged as an error and reported, not raised: the candidate stays where it is, and
        `aios_db.engine.catalog.gate` keeps it from being used.

        Parameters
        ----------
        original, candidate
            Model directories.
        texts
            What the model will be used on, at best the user's own memories. Those of the calibration side
            are left out.
        files
            The same for encoders of sounds and pictures: files, or folders of them. With fewer than 8 on the
            validation side, seeded noise is compared instead.
        progress
            Told of each text that a language model has read.
        name
            The candidate's name, where it is about to be moved to a directory of that name.

        Raises
        ------
        ValidationError
            The original is itself quantized, and not validated: being close to it would say nothing.
        WeightsError
            The files are not of one model, or the weights are not what the file's own hash says.
        OperationalError
            The report cannot be written.
        """
        before, after = ModelDirectory.open(original), ModelDirectory.open(candidate)
        kind = kind_of(before)
        chosen = self._choose_files(before, kind, files) if kind and kind.takes_files else []
        with WeightFile(before.weights) as left, WeightFile(after.weights) as right:
            check(before, left, self.config, integers=False)
            weights = sum(info.num_params for info in left.layers.values())
            subjects = _subject(before.name, left), _subject(name or after.name, right)
            layers = layer_errors(left, right)
        given, bundled = ([], []) if kind and kind.takes_files else self._choose(texts, weights)
        texts = [*given, *bundled]
        measured = measure((before, after), self._ways, texts, chosen, progress)
        failures = [*self._failures(measured.vectors), *measured.failures]
        report = ValidationReport(
            report_id=uuid.uuid4().hex,
            created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            original=subjects[0],
            candidate=subjects[1],
            texts_given=len(given),
            texts_bundled=len(bundled),
            files=len(chosen),
            min_cosine=self.config.min_cosine,
            max_perplexity_increase=self.config.max_perplexity_increase,
            vectors=measured.vectors,
            perplexity=measured.perplexity,
            layers=layers,
            failures=tuple(failures),
            warnings=tuple(self._warnings(measured.perplexity)),
            arithmetic=measured.arithmetic,
        )
        try:
            path = save_report(report, render(report, *measured.plots), after.path)
        except OSError as error:
            raise OperationalError(
                f"cannot write the validation report into {after.path}: {with_advice(error)}"
            ) from error
        _log(report, path)
        return report

    def _choose(self, texts: Sequence[str], weights: int) -> tuple[list[str], list[str]]:
        """Return the caller's texts, evenly picked when there are too many, and bundled ones if too few."""
        affordable = max(MIN_TEXTS, self.config.max_texts * _UNSPARED // max(1, weights))
        given = _evenly(validation_side(texts), min(self.config.max_texts, affordable))
        bundled = [text for text in bundled_texts() if text not in given] if len(given) < MIN_TEXTS else []
        return given, bundled[: max(0, MIN_TEXTS - len(given))]

    def _choose_files(self, directory: ModelDirectory, kind: Kind, files: Sequence[str | Path]) -> list[Path]:
        given = validation_files(media_files(files, kind))
        if given and len(given) < MIN_FILES:
            log.warning(
                "%s: too few to validate on; %s is shown noise", amount(len(given), "file"), directory.path
            )
            return []
        return _evenly(given, self.config.max_texts)

    def _failures(self, vectors: VectorMetrics | None) -> list[str]:
        if not vectors or vectors.cosine_mean >= self.config.min_cosine:
            return []
        return [
            f"the mean cosine to the original is {vectors.cosine_mean:.4f}, below {self.config.min_cosine:g}"
        ]

    def _warnings(self, perplexities: PerplexityMetrics | None) -> list[str]:
        if not perplexities or perplexities.increase <= self.config.max_perplexity_increase:
            return []
        return [
            f"perplexity rises by {perplexities.increase:.1%}, more than "
            f"{self.config.max_perplexity_increase:.0%}"
        ]


def validate_version(
    original_dir: str | Path,
    candidate_dir: str | Path,
    texts: Sequence[str] = (),
    config: ValidationConfig | None = None,
    files: Sequence[str | Path] = (),
    *,
    cpu: CpuConfig = DEFAULTS.cpu,
    device: DeviceConfig = DEFAULTS.device,
) -> ValidationReport:
    """Compare two model directories; see `PrecisionValidator`."""
    return PrecisionValidator(config, cpu, device).validate(original_dir, candidate_dir, texts, files)


def _evenly(items: list[Item], most: int) -> list[Item]:
    """Return at most ``most`` items, evenly picked over their order."""
    if len(items) <= most:
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _subject(name: str, file: WeightFile) -> Subject:
    sha256 = verified_fingerprint(file)
    version = f"{name}@{sha256[:12]}"
    return Subject(version, sha256, file.path.stat().st_size, bits_per_weight(file, list(file.layers)))


def _log(report: ValidationReport, path: Path) -> None:
    details = {
        "report_id": report.report_id,
        "version": report.candidate.version,
        "original": report.original.version,
        "cosine": report.vectors.cosine_mean if report.vectors else None,
        "report": str(path),
    }
    for failure in report.failures:
        log.error(
            "%s is refused: %s; see %s", report.candidate.version, failure, path,
            extra={"event": "validation_refused", **details},
        )  # fmt: skip
    for warning in report.warnings:
        log.warning(
            "%s: %s; see %s", report.candidate.version, warning, path,
            extra={"event": "validation_warned", **details},
        )  # fmt: skip
    if report.passed:
        log.info("%s is accepted", report.candidate.version, extra={"event": "validated", **details})
