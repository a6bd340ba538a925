"""The outcome of a validation: what was compared, what was measured, and whether the version may be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aios_db.engine.weights.files import atomic_write
from aios_db.schema.errors import WeightsError

REPORT_FILE = "validation.json"
PAGE_FILE = "validation.html"


@dataclass(frozen=True)
class Subject:
    """One of the two models."""

    version: str
    """``name@`` and 12 hex digits of ``sha256``."""
    sha256: str
    """Of the weights' content, computed from the bytes and not taken from the file's word."""
    bytes: int
    """Size of the weight file."""
    bits_per_weight: float
    """Values, scales and zero points in bits, over the number of weights."""


@dataclass(frozen=True)
class VectorMetrics:
    """A candidate's vectors against the original's, over the same inputs."""

    count: int
    """Inputs compared."""
    cosine_mean: float
    cosine_p5: float
    """5th percentile."""
    cosine_min: float
    spearman: float
    """Rank correlation of all pairwise similarities."""
    recall_at_10: float
    """Share of the original's ten nearest neighbours that are among the candidate's ten."""


@dataclass(frozen=True)
class PerplexityMetrics:
    """A candidate language model against the original, over the same tokens."""

    tokens: int
    original: float
    candidate: float

    @property
    def increase(self) -> float:
        """Relative rise; 0.1 is ten per cent."""
        return self.candidate / self.original - 1


@dataclass(frozen=True)
class LayerError:
    """What rounding did to one tensor."""

    name: str
    quant_type: str
    bits_per_weight: float
    num_params: int
    relative_error: float
    """Norm of the difference over the norm of the original."""


@dataclass(frozen=True)
class ValidationReport:
    """A candidate against the original it was made of."""

    report_id: str
    created_at: str
    """ISO 8601, UTC."""
    original: Subject
    candidate: Subject
    texts_given: int
    """Texts of the caller, out of the validation side, that were compared."""
    texts_bundled: int
    """Sentences of our own, where the caller had too few."""
    min_cosine: float
    max_perplexity_increase: float
    vectors: VectorMetrics | None
    perplexity: PerplexityMetrics | None
    layers: tuple[LayerError, ...]
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    files: int = 0
    """Sounds or pictures that were compared, out of the validation side."""
    arithmetic: str = "cpu standard/fp32"
    """What computed the candidate's side, as `Encoder.arithmetic` says; older reports know floats only."""

    @property
    def measured_integers(self) -> bool:
        """Whether the candidate computed from its integers, as it does in use."""
        return self.arithmetic.endswith("/integers")

    @property
    def passed(self) -> bool:
        """Whether the candidate may be used."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types; ``passed`` is among the keys."""
        return {"passed": self.passed, **asdict(self)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ValidationReport:
        """Read what `to_dict` returned.

        Raises
        ------
        KeyError, TypeError
            Something is missing or unknown.
        """
        given = {key: value for key, value in content.items() if key != "passed"}
        vectors, perplexity = given["vectors"], given["perplexity"]
        return cls(
            **{
                **given,
                "original": Subject(**given["original"]),
                "candidate": Subject(**given["candidate"]),
                "vectors": VectorMetrics(**vectors) if vectors else None,
                "perplexity": PerplexityMetrics(**perplexity) if perplexity else None,
                "layers": tuple(LayerError(**layer) for layer in given["layers"]),
                "failures": tuple(given["failures"]),
                "warnings": tuple(given["warnings"]),
            }
        )


def save_report(report: ValidationReport, page: str, directory: Path) -> Path:
    """Write ``validation.json`` and ``validation.html`` into a model directory; return the former's path."""
    _replace(directory / PAGE_FILE, page)
    _replace(directory / REPORT_FILE, json.dumps(report.to_dict(), indent=1))
    return directory / REPORT_FILE


def load_report(directory: Path) -> ValidationReport | None:
    """Return the report beside a model's weights, or None when there is none.

    Raises
    ------
    WeightsError
        The file is there and no report.
    """
    path = directory / REPORT_FILE
    try:
        return ValidationReport.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is no validation report: {error!r}; validate the model again") from error


def _replace(path: Path, text: str) -> None:
    with atomic_write(path, alone=True) as part:
        part.write_text(text, encoding="utf-8")
