"""The memory of each strategy, in a process of its own, which makes only that one and runs it a few times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from aios_db.benchmarking.measuring import Result
from aios_db.benchmarking.memory import Memory, Watching
from aios_db.benchmarking.suites import Options, comparisons
from aios_db.config import load_config
from aios_db.config.variables import as_environment
from aios_db.schema.config import Config
from aios_db.schema.progress import Progress

_RUNS = 3
_LIMIT_S = 900.0


def with_memory(  # noqa: PLR0917 - what a run consists of
    found: Sequence[Sequence[Result]],
    suite: str,
    options: Options,
    config: Config,
    place: Path,
    skipped: dict[str, str],
    progress: Progress,
) -> list[list[Result]]:
    """Return the results of a suite, a list per comparison, with the memory of each strategy.

    Parameters
    ----------
    place
        Where the suite has its databases, which nobody has open now.
    skipped
        Is told of which strategies the memory could not be measured, and why.
    """
    total, done = sum(map(len, found)), 0
    measured = []
    for number, results in enumerate(found):
        known = []
        for result in results:
            progress(f"{suite}: memory of each strategy, alone", done, total)
            memory, why = _in_a_process(suite, number, result.strategy, options, config, place)
            if why:
                skipped[f"memory of {result.suite}: {result.name}: {result.strategy}"] = why
            known.append(replace(result, memory=memory))
            done += 1
        measured.append(known)
    progress(f"{suite}: memory of each strategy, alone", done, total)
    return measured


def _in_a_process(  # noqa: PLR0917 - what a run consists of
    suite: str, number: int, strategy: str, options: Options, config: Config, place: Path
) -> tuple[Memory | None, str]:
    """Return the memory of one strategy, or why it is not known."""
    asked = {
        "suite": suite,
        "number": number,
        "strategy": strategy,
        "place": str(place),
        "options": {**asdict(options), "texts": [os.path.abspath(name) for name in options.texts]},
    }
    environment = {**os.environ, **as_environment(config)}
    environment.pop("AIOS_CONFIG", None)
    # Not where this process is: a file aios.yaml there says the same, or less, than the environment.
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "aios_db.benchmarking.alone", json.dumps(asked)],
            env=environment, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        if ended.returncode == 0:
            return Memory(**json.loads(ended.stdout.splitlines()[-1])), ""
    except subprocess.TimeoutExpired:
        return None, f"its process was not at its end after {_LIMIT_S:.0f} s"
    said = ended.stderr.strip().splitlines()
    return None, f"its process ended with status {ended.returncode}: {said[-1] if said else 'without a word'}"


def _measure(suite: str, number: int, strategy: str, options: Options, place: Path) -> Memory:
    """Return what this process holds once the strategy has run."""
    with ExitStack() as stack, Watching() as memory:
        found = comparisons(suite, options, load_config(), place, stack)
        comparison = next(islice(found, number, None))
        (make,) = (each.make for each in comparison.strategies if each.name == strategy)
        run = make()
        for _ in range(_RUNS):
            run()
        held = memory.found()
        found.close()
    return held


def main(asked: str) -> None:
    """Print the memory of the strategy that the JSON ``asked`` names, as JSON."""
    given = json.loads(asked)
    options = Options(**given.pop("options"))
    memory = _measure(options=options, place=Path(given.pop("place")), **given)
    print(json.dumps(memory.as_json()))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(sys.argv[1])
