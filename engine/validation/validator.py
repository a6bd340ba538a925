"""Whether a converted or quantized model may stand in for the one it was made of."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.fingerprint import verified_fingerprint
from aios_db.engine.media_files import media_architecture, media_files
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.validation.metrics import (
    PerplexityMetrics,
    VectorMetrics,
    compare_vectors,
    cosines,
    likelihood,
    perplexity,
)
from aios_db.engine.validation.page import render
from aios_db.engine.validation.probes import LikelihoodProbe, Probe, is_media, open_probe
from aios_db.engine.validation.report import Subject, ValidationReport, save_report
from aios_db.engine.validation.split import bundled_texts, validation_files, validation_side
from aios_db.engine.validation.tensors import bits_per_weight, layer_errors
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import ValidationConfig
from aios_db.schema.errors import OperationalError, WeightsError

log = logging.getLogger("aios_db.engine.validation")

MIN_TEXTS = 64  # with fewer, bundled sentences are added
_UNSPARED = 100_000_000  # weights up to which a model is shown as many texts as the configuration says
MIN_FILES = 8  # with fewer, made inputs take their place

Item = TypeVar("Item")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class PrecisionValidator:
    """Compares a candidate with its original on texts that no calibration has seen.

    Parameters
    ----------
    config
        Thresholds, and how many texts to use.
    """

    def __init__(self, config: ValidationConfig | None = None) -> None:
        self.config = config or ValidationConfig()

    def validate(
        self,
        original: str | Path,
        candidate: str | Path,
        texts: Sequence[str] = (),
        files: Sequence[str | Path] = (),
        progress: Progress | None = None,
    ) -> ValidationReport:
        """Measure, judge, and leave validation.json and validation.html in the candidate's directory.

        A failure is logged as an error and reported, not raised: the candidate stays where it is, and
        `aios_db.engine.validation.gate` keeps it from being used.

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

        Raises
        ------
        WeightsError
            The files are not of one model, or the weights are not what the file's own hash says.
        OperationalError
            The report cannot be written.
        """
        before, after = ModelDirectory.open(original), ModelDirectory.open(candidate)
        chosen = self._choose_files(before, files)
        with _weights(before) as left, _weights(after) as right:
            weights = sum(info.num_params for info in left.layers.values())
            subjects = _subject(before, left), _subject(after, right)
            layers = layer_errors(left, right)
        given, bundled = ([], []) if is_media(before) else self._choose(texts, weights)
        vectors, plots, perplexities = _measure(before, after, [*given, *bundled], chosen, progress)
        failures, warnings = self._judge(vectors, perplexities)
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
            vectors=vectors,
            perplexity=perplexities,
            layers=layers,
            failures=tuple(failures),
            warnings=tuple(warnings),
        )
        try:
            path = save_report(report, render(report, *plots), after.path)
        except OSError as error:
            raise OperationalError(
                f"cannot write the validation report into {after.path}: {error}"
            ) from error
        _log(report, path)
        return report

    def _choose(self, texts: Sequence[str], weights: int) -> tuple[list[str], list[str]]:
        """Return the caller's texts, evenly picked when there are too many, and bundled ones if too few."""
        affordable = max(MIN_TEXTS, self.config.max_texts * _UNSPARED // max(1, weights))
        given = _evenly(validation_side(texts), min(self.config.max_texts, affordable))
        bundled = [text for text in bundled_texts() if text not in given] if len(given) < MIN_TEXTS else []
        return given, bundled[: max(0, MIN_TEXTS - len(given))]

    def _choose_files(self, directory: ModelDirectory, files: Sequence[str | Path]) -> list[Path]:
        architecture = media_architecture(directory)
        if architecture is None:
            return []
        given = validation_files(media_files(files, architecture))
        if given and len(given) < MIN_FILES:
            log.warning("%d files are too few to validate on: %s is shown noise", len(given), directory.path)
            return []
        return _evenly(given, self.config.max_texts)

    def _judge(
        self, vectors: VectorMetrics | None, perplexities: PerplexityMetrics | None
    ) -> tuple[list[str], list[str]]:
        failures, warnings = [], []
        if vectors and not vectors.cosine_mean >= self.config.min_cosine:
            failures.append(
                f"the mean cosine to the original is {vectors.cosine_mean:.4f}, "
                f"below {self.config.min_cosine:g}"
            )
        if perplexities and not perplexities.increase <= self.config.max_perplexity_increase:
            warnings.append(
                f"perplexity rises by {perplexities.increase:.1%}, more than "
                f"{self.config.max_perplexity_increase:.0%}"
            )
        return failures, warnings


def validate_version(
    original_dir: str | Path,
    candidate_dir: str | Path,
    texts: Sequence[str] = (),
    config: ValidationConfig | None = None,
    files: Sequence[str | Path] = (),
) -> ValidationReport:
    """Compare two model directories; see `PrecisionValidator.validate`."""
    return PrecisionValidator(config).validate(original_dir, candidate_dir, texts, files)


def _evenly(items: list[Item], most: int) -> list[Item]:
    """Return at most ``most`` items, evenly picked over their order."""
    if len(items) <= most:
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _measure(
    before: ModelDirectory,
    after: ModelDirectory,
    texts: list[str],
    files: list[Path],
    progress: Progress | None,
) -> tuple[VectorMetrics | None, tuple[NDArray[Any], NDArray[Any]], PerplexityMetrics | None]:
    """Return the metrics and what is plotted: the cosines (n,), and similarities before and after (2, m)."""
    kinds, likelihoods, vectors = set(), [], []
    for directory in (before, after):  # one at a time: memory need not hold both
        with _probe(directory, files) as probe:
            kinds.add(type(probe))
            if isinstance(probe, LikelihoodProbe):
                watched = _watched(texts, f"reading texts with {directory.name}", progress)
                likelihoods.append(likelihood(probe, watched))
            else:
                vectors.append(probe.vectors(texts))
    if len(kinds) > 1:
        raise WeightsError(f"{before.path} and {after.path} are not of one kind of model")
    if likelihoods:
        return None, (np.empty(0), np.empty((2, 0))), perplexity(*likelihoods)
    pair = vectors[0], vectors[1]
    metrics = compare_vectors(*pair)
    above = np.triu_indices(metrics.count, 1)
    similarities = np.stack([(each @ each.T)[above] for each in map(_unit, pair)])
    return metrics, (cosines(*pair), similarities), None


def _watched(texts: list[str], what: str, progress: Progress | None) -> Iterator[str]:
    for number, text in enumerate(texts, 1):
        yield text
        if progress:
            progress(what, number, len(texts))


def _subject(directory: ModelDirectory, file: WeightFile) -> Subject:
    sha256 = verified_fingerprint(file)
    version = f"{directory.name}@{sha256[:12]}"
    return Subject(version, sha256, file.path.stat().st_size, bits_per_weight(file, list(file.layers)))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@contextmanager
def _weights(directory: ModelDirectory) -> Iterator[WeightFile]:
    file = WeightFile(directory.weights)
    try:
        yield file
    finally:
        file.close()


@contextmanager
def _probe(directory: ModelDirectory, files: list[Path]) -> Iterator[Probe]:
    probe = open_probe(directory, files)
    try:
        yield probe
    finally:
        probe.close()


def _log(report: ValidationReport, path: Path) -> None:
    details = {
        "report_id": report.report_id,
        "version": report.candidate.version,
        "original": report.original.version,
        "cosine": report.vectors.cosine_mean if report.vectors else None,
        "report": str(path),
    }
    for failure in report.failures:
        log.error("%s is refused: %s; see %s", report.candidate.version, failure, path, extra=details)
    for warning in report.warnings:
        log.warning("%s: %s; see %s", report.candidate.version, warning, path, extra=details)
    if report.passed:
        log.info("%s is accepted", report.candidate.version, extra=details)
