"""The results of a benchmark as JSON, Markdown and a page with plots, and what is worse than before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from importlib import resources
from itertools import groupby
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any

from aios_db.benchmarking.measuring import Result
from aios_db.benchmarking.memory import Memory
from aios_db.schema.errors import DataError

Baseline = Mapping[tuple[str, str, str], Mapping[str, Any]]

VERSION = 1
FOLLOWING = "what was to follow"
"""What is skipped of a run that is interrupted."""
_LEAST_SLOWER = 0.10  # a smaller change of a ratio is within what one machine does by itself
_LEAST_WORSE = 0.005  # of a cosine or a recall
_SPREADS = 3.0
_BAR = 420  # pixels of the slowest


@dataclass(frozen=True)
class Report:
    """One run.

    Attributes
    ----------
    environment, options
        On what it ran, and what was asked for.
    skipped
        What could not run here, and why.
    """

    environment: Mapping[str, Any]
    options: Mapping[str, Any]
    results: Sequence[Result]
    skipped: Mapping[str, str]

    @property
    def interrupted(self) -> bool:
        """Whether it ended early, so that nothing is said of what was not measured."""
        return FOLLOWING in self.skipped

    def as_json(self) -> dict[str, Any]:
        """Return the report as ``report.schema.json`` describes it."""
        return {
            "version": VERSION,
            "environment": dict(self.environment),
            "options": dict(self.options),
            "results": [each.as_json() for each in self.results],
            "skipped": dict(self.skipped),
        }

    def as_markdown(self) -> str:
        """Return a table per suite."""
        columns = _columns(self.results)
        lines = [f"# {_title(self.environment)}", "", _machine(self.environment), ""]
        for suite, found in groupby(self.results, lambda each: each.suite):
            besides: dict[str, None] = {}
            lines += [
                f"## {suite}", "",
                f"| {' | '.join(('comparison', *columns))} |",
                f"| {' | '.join(['---'] * (1 + len(columns)))} |",
            ]  # fmt: skip
            for each in found:
                cells = _cells(each)
                lines.append(f"| {' | '.join((each.name, *(cells[column] for column in columns)))} |")
                besides[each.besides] = None
            lines += ["", *(f"{line}\n" for line in map(_beside, besides) if line)]
        lines += [f"- not run: {name}: {why}" for name, why in self.skipped.items()]
        return "\n".join(lines) + "\n"

    def as_html(self) -> str:
        """Return a page that needs nothing else."""
        template = resources.files("aios_db.benchmarking").joinpath("report.html").read_text(encoding="utf-8")
        skipped = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in self.skipped.items())
        return Template(template).substitute(
            title=escape(_title(self.environment)),
            machine=escape(_machine(self.environment)),
            suites="".join(_sections(self.results)),
            skipped=f"<h2>Not run</h2><ul>{skipped}</ul>" if skipped else "",
            environment=escape(json.dumps(self.environment, indent=2)),
        )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `Report.as_json`."""
    text = resources.files("aios_db.benchmarking").joinpath("report.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def read_baseline(baseline: Path) -> Baseline:
    """Return the results of an earlier report, by suite, comparison and strategy.

    Raises
    ------
    DataError
        The file is no report, or one of another version.
    """
    try:
        content = json.loads(baseline.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise DataError(f"{baseline} is a report of version {content['version']}, not {VERSION}")
        return {(each["suite"], each["name"], each["strategy"]): each for each in content["results"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{baseline} is no report of a benchmark: {error!r}") from error


def regressions(
    results: Iterable[Result], before: Baseline, skipped: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Return what is worse than in an earlier report, or ran then and is ``skipped`` now, a line each.

    Times of another day are not compared, but the ratios within each run: a strategy is slower when its ratio
    to the first of its comparison fell by more than a tenth and than three times the spread of both. Accuracy
    is worse when it fell by more than .005.

    Raises
    ------
    DataError
        None of the results is in the report.
    """
    pairs = [(each, before.get((each.suite, each.name, each.strategy))) for each in results]
    both = [(each, known) for each, known in pairs if known is not None]
    lost = [
        f"{suite}, {name}, {strategy}: not run, and it was before ({skipped[f'{suite}: {strategy}']})"
        for suite, name, strategy in before
        if f"{suite}: {strategy}" in skipped
    ]
    if not (both or lost):
        raise DataError(
            "nothing that was measured is in the baseline: run it with the same suites, model, texts, "
            "--batch, --length and --rows"
        )
    return lost + [line for each, known in both for line in _worse(each, known)]


def _worse(result: Result, known: Mapping[str, Any]) -> Iterator[str]:
    what = f"{result.suite}, {result.name}, {result.strategy}"
    noise = max(_LEAST_SLOWER, _SPREADS * (result.spread + known["seconds"]["spread"]))
    if not result.ratio >= known["ratio"] * (1 - noise):  # nor is what is no number
        yield f"{what}: ratio {result.ratio:.2f}, was {known['ratio']:.2f} (noise {noise:.0%})"
    for measure, value in result.accuracy.items():
        earlier = known["accuracy"].get(measure)
        if earlier is not None and measure != "bytes" and not value >= earlier - _LEAST_WORSE:
            yield f"{what}: {measure} {value:.4f}, was {earlier:.4f}"


def _machine(environment: Mapping[str, Any]) -> str:
    load = environment.get("load")
    said = f", load {load[0]:.1f}" if load else ""
    packages = environment["packages"]
    versions = ", ".join(
        f"{name} {packages[name]}" for name in ("torch", "duckdb", "pylance") if name in packages
    )
    return (
        f"{environment['processor']}, {environment['cores']} cores{said}; aios_db {environment['aios_db']}, "
        f"Python {environment['python']}, {versions}"
    )


def _title(environment: Mapping[str, Any]) -> str:
    when = datetime.fromisoformat(environment["time"]).astimezone(timezone.utc)
    return f"Benchmark of {when:%Y-%m-%d %H:%M} UTC"


def _columns(results: Iterable[Result]) -> list[str]:
    """Return the columns in which a result has something, in order."""
    found = [_cells(each) for each in results]
    return [column for column in (found[0] if found else ()) if any(cells[column] for cells in found)]


def _cells(result: Result) -> dict[str, str]:
    """Return what a table shows of a result, by column."""
    accuracy = ", ".join(f"{name} {value:.4g}" for name, value in result.accuracy.items())
    memory = result.memory or Memory(None, None, None, None)
    return {
        "strategy": result.strategy,
        "median": _time(result.median_s),
        "spread": f"{result.spread:.0%}",
        "per second": f"{result.items / result.median_s:,.0f} {result.unit}" if result.median_s else "",
        "ratio": f"{result.ratio:.2f}",
        "accuracy": accuracy,
        "private": _size(memory.private),
        "shared": _size(memory.shared),
        "peak": _size(memory.peak),
        "VRAM": _size(memory.device_peak),
    }


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.0f} MB"


def _beside(besides: str) -> str:
    """Return what the memory of a strategy includes, as a sentence."""
    return f"Memory here is with {besides} in the same process." if besides else ""


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _sections(results: Sequence[Result]) -> Iterator[str]:
    for (suite, name), group in groupby(results, lambda each: (each.suite, each.name)):
        found = list(group)
        columns = _columns(found)
        said = found[0].besides and f'<p class="said">{escape(_beside(found[0].besides))}</p>'
        slowest = max(max(each.seconds) for each in found) or 1.0
        bars = "".join(_bar(each, slowest, number) for number, each in enumerate(found))
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cells[column])}</td>' for column in columns)}</tr>"
            for cells in map(_cells, found)
        )
        yield (
            f"<section><h2>{escape(suite)}: {escape(name)}</h2>"
            f'<svg viewBox="0 0 {_BAR + 240} {28 * len(found) + 6}" role="img">{bars}</svg>'
            f"<table><tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr>{rows}</table>"
            f"{said}</section>"
        )


def _bar(result: Result, slowest: float, number: int) -> str:
    """Return the median as a bar, and the rounds as dots on it."""
    y, length = 28 * number + 4, result.median_s / slowest * _BAR
    dots = "".join(
        f'<circle cx="{200 + each / slowest * _BAR:.1f}" cy="{y + 10}" r="2.5"/>' for each in result.seconds
    )
    return (
        f'<text x="192" y="{y + 15}" text-anchor="end">{escape(result.strategy)}</text>'
        f'<rect x="200" y="{y}" width="{length:.1f}" height="20"/>{dots}'
    )
