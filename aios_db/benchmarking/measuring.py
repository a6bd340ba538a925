"""Strategies timed in turns: in each round all of a comparison run, in another order each time.

So a change of the machine's speed meets all alike, and the ratio of a round says more than two times do.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aios_db.benchmarking.memory import Memory, resident
from aios_db.schema.progress import Progress, silent


@dataclass(frozen=True)
class Strategy:
    """One way to do what a comparison is about.

    Attributes
    ----------
    run
        Does it once.
    accuracy
        Returns how right its answers are, by measure; None where there is no question of that.
    """

    name: str
    run: Callable[[], object]
    accuracy: Callable[[], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Comparison:
    """Strategies that do the same; the first is what the others are compared with.

    Attributes
    ----------
    items, unit
        How much a run does, and of what: for throughput.
    """

    suite: str
    name: str
    items: int
    unit: str
    strategies: Sequence[Strategy]


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
        Of this process, after the runs.
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
        }


def measure(
    comparison: Comparison,
    rounds: int,
    progress: Progress = silent,
    warm_ups: int = 1,
) -> list[Result]:
    """Return a result per strategy.

    Parameters
    ----------
    rounds
        How often each strategy is timed.
    warm_ups
        Rounds before those that count.
    """
    chance = random.Random(0)
    strategies = list(comparison.strategies)
    seconds: dict[str, list[float]] = {each.name: [] for each in strategies}
    for number in range(-warm_ups, rounds):
        for each in chance.sample(strategies, len(strategies)):
            start = time.perf_counter()
            each.run()
            if number >= 0:
                seconds[each.name].append(time.perf_counter() - start)
        progress(f"{comparison.suite}: {comparison.name}", number + warm_ups + 1, rounds + warm_ups)
    first = seconds[strategies[0].name]
    return [
        Result(
            comparison.suite, comparison.name, each.name, comparison.items, comparison.unit,
            tuple(seconds[each.name]),
            statistics.median(a / b if b else 1.0 for a, b in zip(first, seconds[each.name], strict=True)),
            dict(each.accuracy()) if each.accuracy else {}, resident(),
        )
        for each in strategies
    ]  # fmt: skip


def measure_all(comparisons: Iterable[Comparison], rounds: int, progress: Progress = silent) -> list[Result]:
    """Return the results of comparisons, which are made one after the other as they are come to."""
    return [result for each in comparisons for result in measure(each, rounds, progress)]
