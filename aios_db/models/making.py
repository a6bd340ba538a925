"""How weight versions come about: quantized, validated on the database's own memories, recorded.

The database is opened for moments only, before and after work that may take hours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from aios_db.models.texts import memory_texts
from aios_db.schema.config import Config
from aios_db.schema.progress import Progress, silent

if TYPE_CHECKING:
    from aios_db.engine.catalog.report import ValidationReport
    from aios_db.engine.quantization.report import QuantizationReport
    from aios_db.memory_store import MemoryStore

OpenStore: TypeAlias = "Callable[[bool], AbstractContextManager[MemoryStore]]"
"""Opens the store of a database, only to read where that is asked for; closed as the block is left."""


@dataclass(frozen=True)
class NewVersion:
    """A model that was quantized."""

    report: QuantizationReport
    validation: ValidationReport
    recorded: bool
    """Whether the database has it as a version: it passed, and there is a database."""


def quantize_version(
    source: Path,
    target: Path,
    *,
    texts: Sequence[str],
    files: Sequence[Path],
    config: Config,
    open_store: OpenStore | None,
    progress: Progress = silent,
) -> NewVersion:
    """Quantize ``source`` into ``target`` by ``config.quantization``, validate it, and record what passes.

    Parameters
    ----------
    texts, files
        What it is calibrated with; see `quantize_model`, also for what is raised.
    open_store
        Of the database whose memories it is validated on, and which then has the version, the one it was made
        of and its report; None where there is no database.
    """
    from aios_db.engine.catalog.report import load_report
    from aios_db.engine.quantization.quantizer import quantize_model

    report = quantize_model(
        source, target, calibration=texts, files=files, config=config.quantization, device=config.device,
        progress=progress, validation=config.validation, texts=_memories(open_store), cpu=config.cpu,
    )  # fmt: skip
    validation = load_report(target)
    assert validation is not None
    if open_store is not None:
        with open_store(False) as store:
            if validation.passed:
                store.versions.install(source)
                store.versions.install(target)
            else:
                store.versions.record_report(validation)
    return NewVersion(report, validation, open_store is not None and validation.passed)


def validate_version(
    original: Path,
    model: Path,
    *,
    texts: Sequence[str] | None,
    files: Sequence[str | Path],
    config: Config,
    open_store: OpenStore | None,
) -> ValidationReport:
    """Compare a model with the one it was made of, and record the report.

    Parameters
    ----------
    texts
        What they are compared on; None takes the memories of the database.
    files
        Sounds or pictures that encoders of these are compared on.
    open_store
        As for `quantize_version`.
    """
    from aios_db.engine.validation.validator import PrecisionValidator

    given = _memories(open_store) if texts is None else texts
    validator = PrecisionValidator(config.validation, config.cpu, config.device)
    report = validator.validate(original, model, given, files)
    if open_store is not None:
        with open_store(False) as store:
            store.versions.record_report(report)
    return report


def _memories(open_store: OpenStore | None) -> list[str]:
    if open_store is None:
        return []
    with open_store(True) as store:
        return memory_texts(store)
