"""How many bytes federated training takes: agents that train a card, each on its own part of STS-B.

Each agent is a process with a database of its own; the hub is another. They talk Flight on loopback, each
through a proxy that counts the bytes at its sockets, in both directions, handshakes and frames included. All
begin with the same card, which is made from a seed and never sent. In each round every agent trains, pushes,
and waits for the version that the hub makes of all.

    python bench/bench_federation.py --data ../shared/data/stsb --agents 2 8 --rounds 12

Ways to sync: ``full`` sends whole cards in float32; ``lossless`` exact differences; ``sparse`` the largest
part, with error feedback. With ``--poisoners 1`` one agent sends its change turned
round and five times as large.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import multiprocessing
import os
import platform
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
    "sparse": Way("sparse", (0.03, 2), (0.05, 2)),
    "denser": Way("denser", (0.1, 2), (0.2, 2)),
    "sparser": Way("sparser", (0.01, 1), (0.02, 1)),
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
    from aios_db.schema.config import Config, StorageConfig
    from aios_db.store import MemoryStore

    config = Config(storage=StorageConfig(durability="normal"))
    return CardLibrary(MemoryStore.open(path, config=config), keep_versions=10_000)


def run_hub(  # noqa: PLR0917 - the arguments of a process
    path: Path, options: Any, way: Way, agents: int, ports: Any, done: Any
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
    proxies = [CountingProxy(server.port) for _ in range(agents)]
    ports.put([proxy.port for proxy in proxies])
    while not done.wait(0.2):
        pass
    ports.put([(proxy.up, proxy.down) for proxy in proxies])
    library.store.close()


def run_agent(  # noqa: PLR0917 - the arguments of a process
    path: Path, options: Any, way: Way, number: int, port: int, pairs: list[Any], traffic: Any
) -> None:
    import torch

    from aios_db.federation.client import FederationClient
    from aios_db.federation.delta import moved, vector
    from aios_db.federation.sparse import Sparsity
    from aios_db.federation.training import Training, new_card, train_card

    torch.set_num_threads(1)
    library = open_library(path)
    library.add(new_card(CARD, options.model, rank=options.rank), origin="new")
    sparsity = Sparsity(*way.uplink) if way.uplink else None
    location = f"grpc://127.0.0.1:{port}"
    with FederationClient(location, library, agent=f"agent{number}", timeout_s=3600) as client:
        for round_ in range(options.rounds):
            head = library.get(CARD)
            start = round_ * options.steps * options.batch
            chosen = [pairs[(start + n) % len(pairs)] for n in range(options.steps * options.batch)]
            training = Training(
                steps=options.steps, batch_size=options.batch, learning_rate=options.learning_rate,
                max_tokens=48, seed=round_,
            )  # fmt: skip
            card = train_card(head, options.model, chosen, training).card
            if number < options.poisoners:
                change = POISON * (vector(card) - vector(head))
                card = moved(head, change.astype("float32"))
            library.add(card, origin="trained", parent=head.sha256, samples=len(pairs))
            about = {"sparsity": sparsity, "decay": options.decay, "whole": way.whole}
            client.sync(CARD, samples=len(pairs), wait_s=600, **about)
            traffic.put((number, round_))
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


def run(options: Any, way: Way, agents: int, rows: Sequence[Any], place: Path) -> dict[str, Any]:
    """Train once; return bytes at the sockets, and the versions' file."""
    context = multiprocessing.get_context("spawn")
    ports, traffic, done = context.Queue(), context.Queue(), context.Event()
    place.mkdir(parents=True)
    hub = context.Process(target=run_hub, args=(place / "hub", options, way, agents, ports, done))
    hub.start()
    numbers = ports.get()
    started = time.perf_counter()
    dealt = parts(rows, agents)
    workers = [
        context.Process(
            target=run_agent, args=(place / f"agent{n}", options, way, n, numbers[n], dealt[n], traffic)
        )
        for n in range(agents)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"an agent failed with {worker.exitcode}: see {place}")
    seconds = time.perf_counter() - started
    done.set()
    counted = ports.get()
    hub.join()
    library = open_library(place / "hub")
    cards = [library.get(each.version) for each in library.versions(CARD)]
    library.store.close()
    up, down = (sum(each[side] for each in counted) for side in (0, 1))
    return {
        "up": up,
        "down": down,
        "seconds": seconds,
        "cards": cards,
        "pairs": [len(part) for part in dealt],
    }


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
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=4, help="per round and agent")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--decay", type=float, default=0.95)
    parser.add_argument("--rule", default="auto")
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

    rows, dev = read("stsb-en-train.csv"), read("stsb-en-dev.csv")
    dev = dev[:: max(1, len(dev) // options.dev)] if options.dev else dev
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{len(rows)} training pairs, {len(dev)} pairs of dev; {vars(options)}")
    results: list[dict[str, Any]] = []
    known: dict[str, float] = {}
    for agents in options.agents:
        for name in options.ways:
            way = WAYS[name]
            found = run(options, way, agents, rows, place / f"{name}-{agents}")
            cards = found.pop("cards")
            rounds = sorted({0, *range(0, len(cards), options.every), len(cards) - 1})
            for number in rounds:
                sha256 = cards[number].sha256
                if sha256 not in known:
                    known[sha256] = spearman(cards[number], options.model, dev)
            curve = {number: known[cards[number].sha256] for number in rounds}
            results.append({"way": name, "agents": agents, "rounds": options.rounds, **found, "curve": curve})
            report(results[-1], next(each for each in results if each["agents"] == agents))
            if options.json:
                Path(options.json).write_text(
                    json.dumps({"options": vars(options), "results": results}, indent=1)
                )


def report(result: dict[str, Any], first: dict[str, Any]) -> None:
    total = result["up"] + result["down"]
    saved = 1 - total / (first["up"] + first["down"])
    curve = "  ".join(f"{number}: {100 * value:.2f}" for number, value in result["curve"].items())
    print(
        f"{result['agents']} agents, {result['way']}: {result['up']:,} bytes up, {result['down']:,} down, "
        f"{100 * saved:.2f} % fewer than {first['way']}; {result['seconds']:.0f} s; pairs {result['pairs']}\n"
        f"    Spearman (x 100) after rounds {curve}",
        flush=True,
    )


if __name__ == "__main__":
    main()
