"""What a consolidation in another process does to the latency of recall.

    python bench/bench_consolidation_latency.py --rows 100000

A database of talks of twelve turns, of words by chance; this process asks one question after the other, with
the pauses of somebody who types: first with nothing else going on, then while `aios consolidator once` makes
principles of all of it in another process, then again with nothing. Printed are the 50th and 95th
percentiles, and how they compare, by wall time and by the processor time that this process took. What another
process wrote has to be read by this one: that is part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import aios_db

WORDS = [
    "harbour", "mast", "ferry", "garden", "tomato", "piano", "nocturne", "lantern", "copper", "window",
    "river", "engine", "letter", "bridge", "market", "painter", "violin", "winter", "mountain", "bakery",
]  # fmt: skip
TALK = 12
CONFIG = {"storage": {"durability": "normal"}, "links": {"reinforce_recalled": False}}


@dataclass
class Latency:
    """Of questions, in milliseconds."""

    questions: int
    p50: float
    p95: float
    p95_processor: float


def fill(database: Path, rows: int) -> None:
    """Store talks whose turns have likeness to each other."""
    chance = np.random.default_rng(1)
    with aios_db.connect(database, config=CONFIG) as con:
        for start in range(0, rows, 12_000):
            count = min(12_000, rows - start)
            middle = np.repeat(chance.normal(size=(count // TALK + 1, 384)), TALK, axis=0)[:count]
            vectors = (middle + 0.8 * chance.normal(size=(count, 384))).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            con.remember(
                [
                    {
                        "text": f"{' '.join(chance.choice(WORDS, 12))} {start + place}.",
                        "session_id": f"talk {(start + place) // TALK}",
                        "text_embedding": vectors[place],
                    }
                    for place in range(count)
                ]
            )
        con.optimize()


def asked(con: aios_db.Connection, seconds: float, busy: subprocess.Popen[bytes] | None = None) -> Latency:
    """Ask for so long, or as long as another process runs."""
    chance = np.random.default_rng(2)
    wall, processor = [], []
    end = time.monotonic() + seconds
    while busy.poll() is None if busy else time.monotonic() < end:
        question = " ".join(chance.choice(WORDS, 4))
        began, spent = time.perf_counter(), time.process_time()
        con.recall(question, 10)
        wall.append(1e3 * (time.perf_counter() - began))
        processor.append(1e3 * (time.process_time() - spent))
        time.sleep(0.05)
    return Latency(len(wall), *np.percentile(wall, [50, 95]).tolist(), float(np.percentile(processor, 95)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of asking with nothing else going on")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        database = Path(work) / "a.aios"
        fill(database, given.rows)
        with aios_db.connect(database, config=CONFIG) as con:
            con.warm()
            asked(con, 3)
            before = asked(con, given.seconds)
            began = time.monotonic()
            command = [sys.executable, "-m", "aios_db.cli", "--db", str(database), "consolidator", "once"]
            environment = {
                **os.environ,
                "AIOS_STORAGE__DURABILITY": "normal",
                "AIOS_CONSOLIDATION__MAX_LOSS": "1",
            }
            with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, env=environment) as process:
                during = asked(con, 0, process)
                out = process.stdout.read() if process.stdout else b""
            took = time.monotonic() - began
            after = asked(con, given.seconds)
    done = [each for each in json.loads(out) if each["state"] == "committed"]
    found = {
        "rows": given.rows,
        "principles": sum(each["clusters"] for each in done),
        "memories": sum(each["memories"] for each in done),
        "took_s": took,
        "before_ms": asdict(before),
        "during_ms": asdict(during),
        "after_ms": asdict(after),
        "p95 during / before": during.p95 / before.p95,
        "p95 during / the slower of before and after": during.p95 / max(before.p95, after.p95),
        "processor p95 during / before": during.p95_processor / before.p95_processor,
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
