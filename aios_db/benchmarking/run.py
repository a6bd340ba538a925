"""One run of the benchmark: suite by suite, times in turns, then the memory of each strategy alone."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from aios_db.benchmarking.alone import with_memory
from aios_db.benchmarking.environment import environment
from aios_db.benchmarking.measuring import Result, measure
from aios_db.benchmarking.report import FOLLOWING, Report
from aios_db.benchmarking.suites import Options, check, comparisons
from aios_db.schema.config import Config
from aios_db.schema.progress import Progress, silent


def run(options: Options, config: Config, progress: Progress = silent) -> Report:
    """Run a benchmark and return its report, when interrupted that of what was measured by then.

    Raises
    ------
    DataError, ModelNotFoundError
        As `check`, before anything is measured.
    """
    check(options, config)
    measured: list[list[Result]] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as name:
        place = Path(name)
        try:
            for suite in options.suites:
                before = len(measured)
                with ExitStack() as stack:
                    for each in comparisons(suite, options, config, place, stack):
                        measured.append(measure(each, options.rounds, progress, skipped))
                if options.memory:
                    found = measured[before:]
                    measured[before:] = with_memory(found, suite, options, config, place, skipped, progress)
        except KeyboardInterrupt:
            skipped[FOLLOWING] = "interrupted"
    results = list(chain.from_iterable(measured))
    return Report(environment(config), asdict(options), results, skipped)
