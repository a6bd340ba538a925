"""What recording metrics costs a recall that nobody reads them of.

    python bench/bench_metrics.py --memories 2000 --recalls 400

One database answers each question twice, with ``telemetry.metrics`` and without, in another order each time.
Printed are the median processor time of this thread and the median clock time of a recall, their ratio, and
how long one record takes by itself.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import aios_db
from aios_db.observing.recorder import Metrics

WORDS = [f"word{number}" for number in range(2000)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memories", type=int, default=2000)
    parser.add_argument("--recalls", type=int, default=400)
    options = parser.parse_args()
    chance = random.Random(1)
    texts = [" ".join(chance.choices(WORDS, k=12)) for _ in range(options.memories)]
    metrics, began, calls = Metrics("bench"), time.perf_counter(), 100_000
    for _ in range(calls):
        metrics.observe("search_memory", began, 10)
    print(f"one record: {(time.perf_counter() - began) / calls * 1e6:.2f} microseconds")
    with tempfile.TemporaryDirectory() as place, aios_db.connect(Path(place) / "a.aios") as con:
        con.remember(texts)
        con.store.optimize()
        cpu: dict[bool, list[float]] = {True: [], False: []}
        clock: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(options.recalls):
            question = " ".join(chance.choices(WORDS, k=6))
            for on in chance.sample([True, False], 2):
                con.store.metrics.enabled = on
                start, start_cpu = time.perf_counter(), time.thread_time()
                con.recall(question, k=10)
                cpu[on].append(time.thread_time() - start_cpu)
                clock[on].append(time.perf_counter() - start)
        for name, times in (("processor time", cpu), ("clock", clock)):
            with_, without = (statistics.median(times[on]) * 1e3 for on in (True, False))
            print(
                f"recall, {name}: {with_:.3f} ms with, {without:.3f} ms without; ratio {with_ / without:.3f}"
            )


if __name__ == "__main__":
    main()
