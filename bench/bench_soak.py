"""Minutes of mixed work from several processes on one database: what grows, and what slows down.

    python bench/bench_soak.py --minutes 5 --processes 2
    python bench/bench_soak.py --minutes 5 --mix remember=1 --processes 1

Each process remembers single memories, recalls, forgets and links at random. Every few seconds it prints
its resident memory, its open files and the median time of each call since the last line; this process adds
the size and the number of the files, how many times their content that is, and how far scores of fixed
queries have drifted: keyword and vector scores of an index that followed all changes against those of one
built anew. At the end come the slopes of all of it per minute, the first minute left out, and the most that
the directory took. Vectors are sums of a direction for each word, so that time
goes into storage and not into a model.

Other work on the machine lengthens the time of a call, and its processor time hardly: the median of that is
printed, too, of all threads of the process. What grows is best read against the number of calls.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import lance
import numpy as np
from numpy.typing import NDArray

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, StorageConfig
from aios_db.search.index import SearchIndex

DIMENSION = 384
WORDS = [hashlib.sha256(str(number).encode()).hexdigest()[:7] for number in range(4000)]
PROBES = [" ".join(WORDS[at : at + 3]) for at in range(0, 60, 3)]
MIX = {"remember": 10, "recall": 10, "forget": 2, "link": 1}


class WordVectors:
    """Stands in for the text model."""

    dimension = DIMENSION
    version = "words@000000000000"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimension)``, rows of unit length."""
        sums = np.stack([sum(map(direction, text.split()), np.zeros(DIMENSION)) for text in texts])
        return (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)).astype(np.float32)


@cache
def direction(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSION)


def connect(path: Path, *, read_only: bool = False) -> aios_db.Connection:
    engine = EngineConfig(models_dir=str(path.parent / "none"))
    config = Config(engine=engine, storage=StorageConfig(dimension=DIMENSION))
    connection = aios_db.connect(path, read_only=read_only, config=config)
    connection.store.database.texts.given = WordVectors()
    return connection


def a_text(chance: random.Random) -> str:
    # Few words are frequent, as in a language.
    return " ".join(WORDS[int(len(WORDS) * chance.random() ** 3)] for _ in range(chance.randint(6, 40)))


def work(path: Path, seconds: float, every: float, mix: dict[str, int], seed: int) -> None:
    """Do a worker's part, and print a line of JSON at every interval."""
    chance = random.Random(seed)
    known: list[str] = []
    took: dict[str, list[float]] = defaultdict(list)
    done = dict.fromkeys(mix, 0)
    for word in WORDS:  # what stands in for a model is there from the beginning, as a model is
        direction(word)
    with connect(path) as con:
        con.remember([{"text": a_text(chance)} for _ in range(200)])
        start = last = time.monotonic()
        while last - start < seconds:
            (name,) = chance.choices(list(mix), list(mix.values()))
            before, computed = time.perf_counter(), time.process_time()
            if name == "remember":
                known.append(con.remember(a_text(chance), session_id=f"s{seed}-{len(known) // 50}"))
            elif name == "recall":
                con.recall(a_text(chance), k=10)
            elif name == "forget" and known:
                con.forget(known.pop(chance.randrange(len(known))))
            elif name == "link" and len(known) > 1:
                con.link(*chance.sample(known, 2))
            took[f"{name} p50 ms"].append(1000 * (time.perf_counter() - before))
            took[f"{name} p50 CPU ms"].append(1000 * (time.process_time() - computed))
            done[name] += 1
            if time.monotonic() - last >= every:
                last = time.monotonic()
                about = {"minutes": (last - start) / 60, "calls": sum(done.values()), **own_size()}
                medians = {each: statistics.median(times) for each, times in took.items()}
                print(json.dumps({"at": about, "took": medians, "done": done}), flush=True)
                took.clear()


def own_size() -> dict[str, float]:
    """Return what is resident, and of that what is the process's own and what is mapped from files."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = {name: 1024 * int(size) / 1e6 for name, size in re.findall(r"(\w+):\s+(\d+) kB", status)}
    sizes = {"RSS MB": "VmRSS", "own MB": "RssAnon", "mapped MB": "RssFile"}
    return {**{name: found[of] for name, of in sizes.items()}, "open files": len(os.listdir("/proc/self/fd"))}


def on_disk(path: Path) -> dict[str, float]:
    sizes = []
    for root, _, names in os.walk(path):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(root, name)).st_size)
            except FileNotFoundError:
                continue
    return {"disk MB": sum(sizes) / 1e6, "files": len(sizes)}


def drift(con: aios_db.Connection) -> float:
    """Return the greatest difference of a score of the probes between the live index and one built anew."""
    store = con.store
    store.refresh()
    live, anew = store.index, SearchIndex.open(None, DIMENSION)
    anew.sync(store.memories, store.links)
    worst = 0.0
    for probe in PROBES:
        (vector,) = WordVectors().encode([probe])
        rows = anew.keyword_search(probe, 50).row_ids
        for one, two in (
            (live.keyword_scores(probe, rows), anew.keyword_scores(probe, rows)),
            (live.vector_scores(vector, rows), anew.vector_scores(vector, rows)),
        ):
            difference = np.abs((one.scores - one.mean) / one.std - (two.scores - two.mean) / two.std)
            worst = max(worst, float(difference.max(initial=0)))
    return worst


def content_mb(con: aios_db.Connection) -> float:
    con.store.refresh()
    rows = con.store.memories.to_table(columns=["text"])["text"].to_pylist()
    return sum(len(text.encode()) + 4 * DIMENSION for text in rows) / 1e6


def slopes(samples: list[dict[str, float]], after: float) -> dict[str, float]:
    """Return the least-squares slope of each number per minute, the first ``after`` minutes left out."""
    late = [each for each in samples if each["minutes"] >= after]
    names = [name for name in samples[-1] if name != "minutes"]
    return {
        name: float(np.polyfit(*zip(*points, strict=True), 1)[0])
        for name in names
        if len(points := [(each["minutes"], each[name]) for each in late if name in each]) > 2
    }


def watch(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Start the workers, print what they say with what is on disk, and return all samples."""
    command = [sys.executable, __file__, "--worker", str(path), "--minutes", str(options.minutes)]
    command += ["--every", str(options.every), "--mix", options.mix]
    workers = [
        subprocess.Popen([*command, "--seed", str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in range(options.processes)
    ]
    samples: dict[str, list[dict[str, float]]] = defaultdict(list)
    done: dict[int, dict[str, int]] = {}
    lock = threading.Lock()

    def follow(number: int) -> None:
        assert workers[number].stdout is not None
        for line in workers[number].stdout:
            said = json.loads(line)
            row = {**said["at"], **said["took"], **on_disk(path)}
            with lock:
                done[number] = said["done"]
                samples[f"process {number}"].append(row)
                print(f"process {number}: " + "; ".join(f"{name} {value:.4g}" for name, value in row.items()))

    threads = [
        threading.Thread(target=follow, args=(number,), daemon=False) for number in range(options.processes)
    ]
    for thread in threads:
        thread.start()
    with connect(path, read_only=True) as con:
        start = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            time.sleep(min(options.every, 2))
            minutes = (time.monotonic() - start) / 60
            if int(minutes * 60 / options.every) > len(samples["index"]) and (content := content_mb(con)):
                row = {"minutes": minutes, "memories": float(len(con.store.index)), "drift": drift(con)}
                row["times content"] = on_disk(path)["disk MB"] / content
                samples["index"].append({**row, **own_size()})
        final = {**on_disk(path), "content MB": content_mb(con), "drift": drift(con)}
    if any(worker.wait() for worker in workers):
        raise SystemExit("a process failed")
    return {"samples": samples, "done": done, "final": final}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every", type=float, default=15, help="seconds between two lines")
    parser.add_argument("--mix", default=",".join(f"{name}={share}" for name, share in MIX.items()))
    parser.add_argument("--json", type=Path, help="write the samples here as JSON")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    mix = {name: int(share) for name, share in (each.split("=") for each in options.mix.split(","))}
    if options.worker:
        work(options.worker, 60 * options.minutes, options.every, mix, options.seed)
        return
    about = {
        "minutes": options.minutes, "processes": options.processes, "mix": options.mix,
        "versions": {
            "aios_db": aios_db.__version__, "duckdb": duckdb.__version__, "lance": lance.__version__,
        },
    }  # fmt: skip
    print(about)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "soak.aios"
        connect(path).close()
        found = watch(path, options)
    after = min(1.0, options.minutes / 3)
    found["slopes"] = {name: slopes(rows, after) for name, rows in found["samples"].items() if rows}
    ratios = [each["times content"] for each in found["samples"]["index"] if each["minutes"] >= after]
    found["final"]["most times content"] = max(ratios, default=0.0)
    for name, each in found["slopes"].items():
        print(f"{name}, per minute: " + "; ".join(f"{key} {value:+.3g}" for key, value in each.items()))
    print(f"calls: {found['done']}")
    print("at the end: " + "; ".join(f"{name} {value:.4g}" for name, value in found["final"].items()))
    if options.json:
        options.json.write_text(json.dumps({**about, **found}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
