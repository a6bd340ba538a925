"""One run of the benchmark: which suites, of what, by which strategies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from aios_db.benchmarking import end_to_end, operators
from aios_db.benchmarking.environment import environment
from aios_db.benchmarking.measuring import Comparison, measure_all
from aios_db.benchmarking.report import Report
from aios_db.schema.config import Config
from aios_db.schema.errors import DataError
from aios_db.schema.progress import Progress, silent

SUITES = ("operators", "encode", "database", "sync")


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes
    ----------
    compare
        Ways to encode: names of `end_to_end.STRATEGIES`, or installed models, such as an INT2 version.
    texts
        Files with a text per line; by default the built-in sentences.
    batch, length
        Texts of a call, and tokens of the operators' texts.
    rows
        Memories of the database.
    rounds
        How often each strategy runs.
    """

    suites: tuple[str, ...] = SUITES
    compare: tuple[str, ...] = ("standard", "compile", "openvino", "int8", "auto")
    texts: tuple[str, ...] = ()
    batch: int = 64
    length: int = 32
    rows: int = 2000
    rounds: int = 7


def run(options: Options, config: Config, progress: Progress = silent) -> Report:
    """Run a benchmark and return its report.

    Raises
    ------
    DataError
        A file has no texts.
    """
    texts = read_texts(options.texts, options.batch)
    skipped: dict[str, str] = {}
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="aios-bench-") as place:
        found = _comparisons(options, config, texts, Path(place), stack, skipped)
        results = measure_all(found, options.rounds, progress)
    return Report(environment(config), asdict(options), results, skipped)


def _comparisons(  # noqa: PLR0917 - what a run consists of
    options: Options,
    config: Config,
    texts: Sequence[str],
    place: Path,
    stack: ExitStack,
    skipped: dict[str, str],
) -> Iterator[Comparison]:
    for suite in options.suites:
        if suite == "operators":
            yield from operators.comparisons(options.batch, options.length)
        elif suite == "encode":
            yield from end_to_end.encoding(config, options.compare, texts, stack, skipped)
        elif suite == "database":
            yield from end_to_end.databases(config, texts, options.rows, place)
        else:
            yield from end_to_end.syncing(config, place)


def read_texts(files: Sequence[str], count: int) -> list[str]:
    """Return ``count`` texts of files, repeated where there are fewer; without files the built-in ones.

    Raises
    ------
    DataError
        There are none.
    """
    from aios_db.engine.backends.sample import sample_sentences

    if files:
        lines = [line.strip() for name in files for line in Path(name).read_text("utf-8").splitlines()]
        found = [line for line in lines if line]
    else:
        found = [each for part in sample_sentences() for each in part]
    if not found:
        raise DataError(f"there is no text in {', '.join(files)}")
    return [found[number % len(found)] for number in range(count)]
