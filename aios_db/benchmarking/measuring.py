"""Strategies timed in turns: in each round all of a comparison run, in another order each time.

So a change of the machine's speed meets all alike, and the ratio of a round says more than two times do.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aios_db.benchmarking.memory import Memory
from aios_db.schema.errors import Error
from aios_db.schema.progress import Progress, silent

Run: TypeAlias = Callable[[], Any]
"""Does what a comparison is about, once."""


@dataclass(frozen=True)
class Strategy:
    """One way to do what a comparison is about.

    Attributes
    ----------
    make
        Prepares what it needs, and returns what does it. An `Error` says that it cannot run here.
    accuracy
        Returns how right its answers are, by measure, from its run and that of the first strategy; None where
        there is no question of that.
    """

    name: str
    make: Callable[[], Run]
    accuracy: Callable[[Run, Run], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Comparison:
    """Strategies that do the same; the first is what the others are compared with.

    Attributes
    ----------
    items, unit
        How much a run does, and of what: for throughput.
    besides
        What the process of each strategy holds besides it, since they cannot be parted.
    """

    suite: str
    name: str
    items: int
    unit: str
    strategies: Sequence[Strategy]
    besides: str = ""


@dataclass(frozen=True)
class Result:
    """How long a strategy took, and how right it was.

    Attributes
    ----------
    seconds
        Of each round.
    ratio
        The median over rounds of the first strategy's time to this one's: above 1 is faster than it.
    memory
        Of a process that did nothing else; None where that was not measured.
    besides
        What that process held besides the strategy.
    """

    suite: str
    name: str
    strategy: str
    items: int
    unit: str
    seconds: tuple[float, ...]
    ratio: float
    accuracy: Mapping[str, float] = field(default_factory=dict)
    memory: Memory | None = None
    besides: str = ""

    @property
    def median_s(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / self.median_s if self.median_s else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``report.schema.json`` describes it."""
        return {
            "suite": self.suite,
            "name": self.name,
            "strategy": self.strategy,
            "items": self.items,
            "unit": self.unit,
            "seconds": {
                "median": self.median_s,
                "least": min(self.seconds),
                "most": max(self.seconds),
                "spread": self.spread,
                "rounds": list(self.seconds),
            },
            "per_second": self.items / self.median_s if self.median_s else None,
            "ratio": self.ratio,
            "accuracy": dict(self.accuracy),
            "memory": self.memory.as_json() if self.memory else None,
            "besides": self.besides,
        }


def measure(
    comparison: Comparison,
    rounds: int,
    progress: Progress = silent,
    skipped: dict[str, str] | None = None,
    warm_ups: int = 1,
) -> list[Result]:
    """Return a result per strategy that can run here.

    Parameters
    ----------
    rounds
        How often each strategy is timed.
    skipped
        Is told which strategies cannot run, and why.
    warm_ups
        Rounds before those that count.
    """
    runs = _made(comparison, {} if skipped is None else skipped)
    names = list(runs)
    chance = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_ups, rounds):
        for name in chance.sample(names, len(names)):
            start = time.perf_counter()
            runs[name]()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
        progress(f"{comparison.suite}: {comparison.name}", number + warm_ups + 1, rounds + warm_ups)
    return [
        Result(
            comparison.suite, comparison.name, each.name, comparison.items, comparison.unit,
            tuple(seconds[each.name]),
            statistics.median(
                a / b if b else 1.0 for a, b in zip(seconds[names[0]], seconds[each.name], strict=True)
            ),
            dict(each.accuracy(runs[each.name], runs[names[0]])) if each.accuracy else {},
            besides=comparison.besides,
        )
        for each in comparison.strategies if each.name in runs
    ]  # fmt: skip


def _made(comparison: Comparison, skipped: dict[str, str]) -> dict[str, Run]:
    runs = {}
    for each in comparison.strategies:
        try:
            runs[each.name] = each.make()
        except Error as error:
            skipped[f"{comparison.suite}: {each.name}"] = str(error)
    return runs
