"""How many bytes federated training takes: agents that train a card, each on its own part of STS-B.

Each agent is a process with a database of its own; the hub is another. They talk Flight on loopback, each
through a proxy that counts the bytes at its sockets, in both directions, handshakes and frames included. All
begin with the same card, which is made from a seed and never sent. In each round every agent trains, pushes,
and waits for the version that the hub makes of all.

    python bench/bench_federation.py --data ../shared/data/stsb --agents 2 8 --rounds 12

Ways to sync: ``full`` sends whole cards in float32; ``lossless`` exact differences; ``sparse`` the largest
part, with error feedback. Each may have a number of rounds of its own: ``--rounds 10 17``. Printed is the
quality by rounds and bytes, and after how many bytes a way is within ``--within`` points of the best that the
first one reached. With ``--poisoners 1`` one agent sends its change turned round and five times as large.
``--hold-out 10`` measures on every tenth pair of the training data in place of dev, and trains on the rest:
for whoever tunes.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import multiprocessing
import os
import platform
import queue
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD = "sts"
POISON = -5.0


@dataclass(frozen=True)
class Way:
    """How versions are sent: density and bits in both directions, exactly, or whole."""

    name: str
    uplink: tuple[float, int] | None = None
    downlink: tuple[float, int] | None = None
    whole: bool = False


WAYS = {
    "full": Way("full", whole=True),
    "lossless": Way("lossless"),
    "sparse": Way("sparse", (0.08, 1), (0.08, 1)),
    "sparser": Way("sparser", (0.03, 2), (0.05, 2)),
}


class CountingProxy:
    """Forwards TCP connections to a port and counts what goes through."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.up = self.down = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._to))
            for source, target, upward in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._forward, args=(source, target, upward), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, upward: bool) -> None:
        while data := _received(source):
            with self._lock:
                if upward:
                    self.up += len(data)
                else:
                    self.down += len(data)
            target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def open_library(path: Path) -> Any:
    from aios_db.federation.library import CardLibrary
    from aios_db.memory_store import MemoryStore
    from aios_db.schema.config import Config, StorageConfig

    config = Config(storage=StorageConfig(durability="normal"))
    return CardLibrary(MemoryStore.open(path, config=config), keep_versions=10_000)


def run_hub(  # noqa: PLR0917 - the arguments of a process
    path: Path, options: Any, way: Way, agents: int, port: Any, done: Any
) -> None:
    import logging

    from aios_db.federation.access import Limits
    from aios_db.federation.hub import Hub, Rounds
    from aios_db.federation.server import FederationServer
    from aios_db.federation.sparse import Sparsity
    from aios_db.federation.training import new_card

    logging.basicConfig(filename=path.with_suffix(".log"), level=logging.INFO)
    library = open_library(path)
    library.add(new_card(CARD, options.model, rank=options.rank), origin="new")
    sparsity = Sparsity(*way.downlink) if way.downlink else None
    rounds = Rounds(size=agents, rule=options.rule, sparsity=sparsity, decay=options.decay)
    server = FederationServer(Hub(library, rounds, max_change=10.0), limits=Limits(exchange_s=3600))
    port.put(server.port)
    done.wait()
    library.store.close()


def run_agent(  # noqa: PLR0917 - the arguments of a process
    path: Path, options: Any, way: Way, rounds: int, number: int, port: int, pairs: list[Any], finished: Any
) -> None:
    import torch

    from aios_db.federation.client import FederationClient
    from aios_db.federation.debts import to_train
    from aios_db.federation.delta import moved, vector
    from aios_db.federation.sparse import Sparsity
    from aios_db.federation.training import Training, new_card, train_card

    torch.set_num_threads(1)
    library = open_library(path)
    library.add(new_card(CARD, options.model, rank=options.rank), origin="new")
    sparsity = Sparsity(*way.uplink) if way.uplink else None
    location = f"grpc://127.0.0.1:{port}"
    with FederationClient(location, library, agent=f"agent{number}", timeout_s=3600) as client:
        for round_ in range(rounds):
            start = to_train(library, CARD, options.decay)
            first = round_ * options.steps * options.batch
            chosen = [pairs[(first + n) % len(pairs)] for n in range(options.steps * options.batch)]
            training = Training(
                steps=options.steps, batch_size=options.batch, learning_rate=options.learning_rate,
                max_tokens=48, seed=round_,
            )  # fmt: skip
            card = train_card(start, options.model, chosen, training).card
            if number < options.poisoners:
                change = POISON * (vector(card) - vector(start))
                card = moved(start, change.astype("float32"))
            library.add(card, origin="trained", parent=start.sha256, samples=len(pairs))
            about = {"sparsity": sparsity, "decay": options.decay, "whole": way.whole}
            client.sync(CARD, samples=len(pairs), wait_s=600, **about)
            finished.put((number, round_))
    library.store.close()


def parts(rows: Sequence[Any], agents: int) -> list[list[Any]]:
    """Deal unequal parts of different scores: sorted by score in halves, the first agents get far more."""
    shares = [2.0 ** -(n / max(1, agents - 1) * 2) for n in range(agents)]  # four times as much as the last
    ordered = sorted(
        rows, key=lambda pair: (len(pair.first) // 24, pair.first)
    )  # short texts here, long there
    ends = [round(len(rows) * sum(shares[: n + 1]) / sum(shares)) for n in range(agents)]
    return [ordered[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def spearman(card: Any, model: str, dev: Sequence[Any]) -> float:
    from scipy.stats import spearmanr

    from aios_db.engine.encoders.arrow_engine import ArrowEngine
    from aios_db.federation.applying import adapter
    from aios_db.schema.config import CpuConfig

    plain = CpuConfig(backend="standard", precision="fp32")
    engine = ArrowEngine(model, cpu=plain, adapter=adapter(card, model))
    vectors = engine.encode([pair.first for pair in dev] + [pair.second for pair in dev])
    cosines = (vectors[: len(dev)] * vectors[len(dev) :]).sum(axis=1)
    return float(spearmanr(cosines, [pair.score for pair in dev]).statistic)


def run(  # noqa: PLR0917
    options: Any, way: Way, rounds: int, agents: int, rows: Sequence[Any], place: Path
) -> dict[str, Any]:
    """Train once; return the bytes at the sockets by the end of each round, and the versions."""
    context = multiprocessing.get_context("spawn")
    port, finished, done = context.Queue(), context.Queue(), context.Event()
    place.mkdir(parents=True)
    hub = context.Process(target=run_hub, args=(place / "hub", options, way, agents, port, done))
    hub.start()
    serving, started = port.get(), time.perf_counter()
    proxies, dealt = [CountingProxy(serving) for _ in range(agents)], parts(rows, agents)
    workers = [
        context.Process(
            target=run_agent,
            args=(place / f"agent{n}", options, way, rounds, n, proxies[n].port, dealt[n], finished),
        )
        for n in range(agents)
    ]
    for worker in workers:
        worker.start()
    up, down = [0] * (rounds + 1), [0] * (rounds + 1)
    for _ in range(agents * rounds):
        number, round_ = next_of(finished, workers, place)
        up[round_ + 1] += proxies[number].up
        down[round_ + 1] += proxies[number].down
    for worker in workers:
        worker.join()
    done.set()
    hub.join()
    library = open_library(place / "hub")
    cards = [library.get(each.version) for each in library.versions(CARD)]
    library.store.close()
    seconds, pairs = time.perf_counter() - started, [len(part) for part in dealt]
    return {"up": up, "down": down, "seconds": seconds, "cards": cards, "pairs": pairs}


def next_of(finished: Any, workers: Sequence[Any], place: Path) -> tuple[int, int]:
    """Wait for an agent to finish a round; give up where one has failed."""
    while True:
        with contextlib.suppress(queue.Empty):
            number, round_ = finished.get(timeout=1.0)
            return number, round_
        if any(worker.exitcode for worker in workers):
            raise SystemExit(f"an agent failed: see {place}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", required=True, help="the directory of stsb-en-train.csv and stsb-en-dev.csv"
    )
    parser.add_argument("--model", default="", help="a model directory; by default minilm is installed")
    parser.add_argument("--agents", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["full", "sparse"])
    parser.add_argument("--rounds", type=int, nargs="+", default=[12], help="of all ways, or of each")
    parser.add_argument("--steps", type=int, default=4, help="per round and agent")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--decay", type=float, default=1.0)
    parser.add_argument("--rule", default="auto")
    parser.add_argument("--within", type=float, default=0.2, help="points of Spearman x 100")
    parser.add_argument(
        "--hold-out", type=int, default=0, help="measure on every n-th training pair, not on dev"
    )
    parser.add_argument("--poisoners", type=int, default=0)
    parser.add_argument("--every", type=int, default=3, help="rounds between two measurements of quality")
    parser.add_argument("--dev", type=int, default=0, help="pairs that quality is measured on; 0 is all")
    parser.add_argument("--json", help="write the results there")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bench-federation-"))
    try:
        measure(options, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure(options: Any, place: Path) -> None:
    from aios_db.engine.catalog.install import install_minilm
    from aios_db.federation.training import Pair

    options.model = options.model or str(install_minilm(place / "models"))

    def read(name: str) -> list[Any]:
        with (Path(options.data) / name).open(encoding="utf-8", newline="") as file:
            return [Pair(first, second, float(score)) for first, second, score in csv.reader(file)]

    rows = read("stsb-en-train.csv")
    if options.hold_out:
        dev = rows[:: options.hold_out]
        rows = [row for number, row in enumerate(rows) if number % options.hold_out]
    else:
        dev = read("stsb-en-dev.csv")
    dev = dev[:: max(1, len(dev) // options.dev)] if options.dev else dev
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{len(rows)} training pairs, {len(dev)} pairs to measure on; {vars(options)}")
    results: list[dict[str, Any]] = []
    known: dict[str, float] = {}
    lengths = options.rounds if len(options.rounds) > 1 else options.rounds * len(options.ways)
    for agents in options.agents:
        for name, length in zip(options.ways, lengths, strict=True):
            found = run(options, WAYS[name], length, agents, rows, place / f"{name}-{agents}")
            cards = found.pop("cards")
            rounds = sorted({0, *range(0, len(cards), options.every), len(cards) - 1})
            for number in rounds:
                sha256 = cards[number].sha256
                if sha256 not in known:
                    known[sha256] = 100 * spearman(cards[number], options.model, dev)
            curve = {number: known[cards[number].sha256] for number in rounds}
            results.append({"way": name, "agents": agents, "rounds": length, **found, "curve": curve})
            report(results[-1], next(each for each in results if each["agents"] == agents), options.within)
            if options.json:
                Path(options.json).write_text(
                    json.dumps({"options": vars(options), "results": results}, indent=1)
                )


def report(result: dict[str, Any], first: dict[str, Any], within: float) -> None:
    def total(of: dict[str, Any], number: int) -> int:
        return int(of["up"][number] + of["down"][number])

    curve = result["curve"]
    last, length = max(curve), min(result["rounds"], first["rounds"])
    fewer = 1 - total(result, length) / total(first, length)
    print(
        f"{result['agents']} agents, {result['way']}, {result['rounds']} rounds: "
        f"{result['up'][-1]:,} bytes up, {result['down'][-1]:,} down, "
        f"per round {100 * fewer:.2f} % fewer than {first['way']}; "
        f"{result['seconds']:.0f} s; pairs {result['pairs']}"
    )
    for number, quality in curve.items():
        print(
            f"    after {number:3} rounds, {total(result, number):12,} bytes: Spearman (x 100) {quality:.2f}"
        )
    best = max(first["curve"].values())
    reached = [number for number, quality in curve.items() if quality >= best - within and number]
    if result is not first and reached:
        needed, of_first = total(result, reached[0]), next(n for n, q in first["curve"].items() if q == best)
        print(
            f"    within {within} of the best of {first['way']} ({best:.2f}) after {reached[0]} rounds and "
            f"{needed:,} bytes, {100 * (1 - needed / total(first, of_first)):.2f} % fewer"
        )
    print(
        f"    at the end {curve[last] - first['curve'][max(first['curve'])]:+.2f} to {first['way']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
