"""What the validator measures: both models shown the same inputs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.agreement import row_failures, unrelated
from aios_db.engine.catalog.report import PerplexityMetrics, VectorMetrics
from aios_db.engine.generation.causal import Reading
from aios_db.engine.validation.metrics import compare_vectors, cosines, perplexity
from aios_db.engine.validation.probes import ALONE, LossProbe, Probe, VectorProbe, open_probe
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import WeightsError
from aios_db.schema.progress import Progress

Way = tuple[CpuConfig, DeviceConfig]
"""How a model computes."""

_NO_PLOTS = np.empty(0), np.empty((2, 0))


@dataclass(frozen=True)
class Measurement:
    """How far a candidate is from its original."""

    vectors: VectorMetrics | None
    perplexity: PerplexityMetrics | None
    failures: tuple[str, ...]
    """What no rounding explains; see `aios_db.engine.backends.agreement`."""
    arithmetic: str
    """What computed the candidate's side."""
    plots: tuple[NDArray[Any], NDArray[Any]]
    """Cosines (n,), and similarities before and after (2, m); empty for language models."""


def measure(
    models: tuple[ModelDirectory, ModelDirectory],
    ways: tuple[Way, Way],
    texts: Sequence[str],
    files: Sequence[Path],
    progress: Progress,
) -> Measurement:
    """Show ``texts`` or ``files`` to the original and the candidate, and compare.

    Raises
    ------
    WeightsError
        They are not of one kind of model, or the original's outputs are not finite.
    """
    kinds, arithmetic = set(), ""
    outputs: list[NDArray[np.float32]] = []
    losses: list[NDArray[np.float32]] = []
    alone: NDArray[np.float32] | None = None
    for directory, way in zip(models, ways, strict=True):  # one at a time: memory need not hold both
        with _opened(directory, texts, files, way) as probe:
            kinds.add(type(probe))
            if isinstance(probe, LossProbe):
                watched = _watched(texts, f"reading texts with {directory.name}", progress)
                reading = Reading.joined([each for each in map(probe.read, watched) if each.losses.size])
                losses.append(reading.losses)
                outputs.append(reading.outputs)
            else:
                try:
                    outputs.append(probe.vectors())
                    alone = _alone(probe)
                except WeightsError as error:
                    if directory is models[0]:
                        raise
                    return Measurement(None, None, (str(error),), probe.arithmetic, _NO_PLOTS)
            arithmetic = probe.arithmetic
    if len(kinds) > 1:
        raise WeightsError(f"{models[0].path} and {models[1].path} are not of one kind of model")
    before, after = outputs
    if alone is None:
        measured = perplexity(*losses)
        failures = row_failures(before, after) + unrelated(before, after)
        if not np.isfinite(losses[1]).all():
            failures.append("the losses of some tokens are not finite")
        return Measurement(None, measured, tuple(failures), arithmetic, _NO_PLOTS)
    after = _worse(before, after, alone)
    above = np.triu_indices(len(before), 1)
    return Measurement(
        vectors=compare_vectors(before, after),
        perplexity=None,
        failures=tuple(row_failures(before, after)),
        arithmetic=arithmetic,
        plots=(cosines(before, after), np.stack([(each @ each.T)[above] for each in (before, after)])),
    )


def _alone(probe: VectorProbe) -> NDArray[np.float32]:
    """Return the first vectors, each of a call of its own."""
    return np.concatenate([probe.vectors(slice(place, place + 1)) for place in range(ALONE)])


def _worse(
    before: NDArray[np.float32], after: NDArray[np.float32], alone: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return ``after`` with those of the vectors made alone that are the worse ones."""
    count = len(alone)
    worse = cosines(before[:count], alone) < cosines(before[:count], after[:count])
    merged = after.copy()
    merged[:count][worse] = alone[worse]
    return merged


def _watched(texts: Sequence[str], what: str, progress: Progress) -> Iterator[str]:
    for number, text in enumerate(texts, 1):
        yield text
        progress(what, number, len(texts))


@contextmanager
def _opened(
    directory: ModelDirectory, texts: Sequence[str], files: Sequence[Path], way: Way
) -> Iterator[Probe]:
    probe = open_probe(directory, texts, files, *way)
    try:
        yield probe
    finally:
        probe.close()
