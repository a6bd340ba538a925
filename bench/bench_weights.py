"""Loading weights: time to the first embedding of a cold process, private memory, sharing.

Compares transformers with safetensors, the old way (read a zstd V1 table and copy every tensor) and
aios_db's mapped file, on all-MiniLM-L6-v2. Every figure comes from processes of their own, run in turns;
medians are printed.

    python bench/bench_weights.py --source DIR [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TEXT = "Which of us promised to water the plants while Maria is in Lisbon?"
BACKENDS = ("standard/fp32", "standard/bf16", "openvino/fp32", "openvino/bf16", "openvino/int8")


class Transformers:
    """The reference: AutoModel, which reads model.safetensors."""

    def __init__(self, source: Path, models: Path) -> None:
        self.source = source

    def imports(self) -> None:
        import torch  # noqa: F401
        from transformers import AutoModel, AutoTokenizer  # noqa: F401

    def load_tokenizer(self) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(self.source)

    def load_weights(self) -> None:
        from transformers import AutoModel

        self.model = AutoModel.from_pretrained(self.source).eval()

    def embed(self) -> list[float]:
        import torch

        with torch.inference_mode():
            pooled = self.model(**self.tokenizer([TEXT], return_tensors="pt")).last_hidden_state.mean(1)
            vector: list[float] = torch.nn.functional.normalize(pooled)[0].tolist()
        return vector


class Copied:
    """The old way: read the whole V1 table and copy each tensor out of it, into our own module."""

    def __init__(self, source: Path, models: Path) -> None:
        self.directory = models / "v1"

    def imports(self) -> None:
        import torch  # noqa: F401

        import aios_db.engine.architectures.bert
        import aios_db.engine.frontends.tokenizer  # noqa: F401

    def load_tokenizer(self) -> None:
        from aios_db.engine.frontends.tokenizer import TextTokenizer

        self.tokenizer = TextTokenizer(self.directory / "tokenizer" / "tokenizer.json")

    def load_weights(self) -> None:
        import numpy as np
        import pyarrow.parquet as pq
        import torch

        from aios_db.engine.architectures.registry import build_model

        rows = pq.read_table(self.directory / "weights.parquet").to_pylist()
        state = {
            row["layer_name"]: torch.from_numpy(np.frombuffer(row["data"], np.float32).copy()).view(
                *row["shape"]
            )
            for row in rows
        }
        metadata = json.loads((self.directory / "metadata.json").read_text())
        self.model = build_model("BertModel", metadata["model_info"])
        self.model.load_state_dict(state, strict=False, assign=True)

    def embed(self) -> list[float]:
        import torch

        ids = torch.tensor(self.tokenizer.windows([TEXT], 256, 0)[0])
        with torch.inference_mode():
            pooled = self.model(ids, torch.ones_like(ids))
            vector: list[float] = torch.nn.functional.normalize(pooled)[0].tolist()
        return vector


class MappedTorch(Copied):
    """The standard back end: torch over views of the mapped file."""

    def __init__(self, source: Path, models: Path) -> None:
        self.directory = models / "mapped"

    def imports(self) -> None:
        super().imports()
        import aios_db.engine.weights.lazy
        import aios_db.engine.weights.reader  # noqa: F401

    def load_weights(self) -> None:
        from aios_db.engine.architectures.registry import build_model
        from aios_db.engine.weights.lazy import LazyModel
        from aios_db.engine.weights.model_directory import ModelDirectory
        from aios_db.engine.weights.reader import WeightFile

        config = ModelDirectory.open(self.directory).config
        lazy = LazyModel(build_model("BertModel", config), WeightFile(self.directory / "weights.parquet"))
        lazy.load_all()
        self.model = lazy.model


class Engine:
    """ArrowEngine as it is: a short first call needs no torch."""

    def __init__(self, source: Path, models: Path) -> None:
        self.directory = models / "mapped"

    def imports(self) -> None:
        import aios_db.engine.encoders.arrow_engine  # noqa: F401

    def load_tokenizer(self) -> None:
        """Do nothing: the engine loads it with the weights."""

    def load_weights(self) -> None:
        from aios_db.engine.encoders.arrow_engine import ArrowEngine

        self.engine = ArrowEngine(self.directory)

    def embed(self) -> list[float]:
        vector: list[float] = self.engine.encode([TEXT])[0].tolist()
        return vector


class EngineBackend(Engine):
    """ArrowEngine on one CPU back end and precision."""

    backend = "standard/fp32"

    def imports(self) -> None:
        import torch  # noqa: F401

        super().imports()
        if self.backend.startswith("openvino"):
            import openvino  # noqa: F401

    def load_weights(self) -> None:
        from aios_db.engine.encoders.arrow_engine import ArrowEngine
        from aios_db.schema.config import CpuConfig

        name, precision = self.backend.split("/")
        # How precise it is, is a matter of another benchmark: here, what the repacked model takes.
        cpu = CpuConfig(backend=name, precision=precision, min_cosine=0.5)  # type: ignore[arg-type]
        self.engine = ArrowEngine(self.directory, cpu=cpu)
        self.engine.tune()


WAYS = {
    "transformers + safetensors": Transformers,
    "V1 zstd table, copied": Copied,
    "mapped, torch": MappedTorch,
    "ArrowEngine": Engine,
}


def memory() -> dict[str, int]:
    """Return this process's bytes by kind; Private_Clean are file pages that it maps alone."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return {key: int(kb) * 1024 for key, kb in re.findall(r"(\w+):\s+(\d+) kB", text)}


def mapping(path: Path) -> dict[str, int]:
    """Return the bytes of the mapping of ``path`` by kind."""
    blocks = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    block = next((block for block in blocks if str(path) in block.splitlines()[0]), "")
    return {key: int(kb) * 1024 for key, kb in re.findall(r"(\w+):\s+(\d+) kB", block)}


def child(name: str, source: Path, models: Path) -> None:
    """Take one way, and print what it took; then wait until stdin is closed."""
    way: Any = WAYS.get(name, EngineBackend)(source, models)
    way.backend = name
    grown = {}
    way.imports()
    before = memory()["Private_Dirty"]
    for step in ("load_tokenizer", "load_weights", "embed"):
        result = getattr(way, step)()
        grown[step] = memory()["Private_Dirty"] - before
        before += grown[step]
    figures = {"vector": result, "grown": grown, "torch": "torch" in sys.modules}
    print(json.dumps(figures | {"mapping": mapping(models / "mapped" / "weights.parquet")}), flush=True)
    sys.stdin.read()


def start(
    way: str, arguments: argparse.Namespace, models: Path
) -> tuple[subprocess.Popen[str], dict[str, Any], float]:
    """Run a child until it has its vector; return it, its figures and the seconds since it was started."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", way, "--source", arguments.source, "--models", str(models)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - begin
    if not line:
        raise SystemExit(f"{way} failed:\n{process.stderr.read()}")
    return process, json.loads(line), seconds


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate("")


def measure(arguments: argparse.Namespace, models: Path) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    figures: dict[str, dict[str, Any]] = {}
    for _ in range(arguments.rounds):
        for way in WAYS:
            process, figures[way], taken = start(way, arguments, models)
            finish(process)
            seconds[way].append(taken)
    reference = figures["transformers + safetensors"]["vector"]
    weights = (models / "mapped" / "weights.parquet").stat().st_size
    baseline = statistics.median(seconds["transformers + safetensors"])
    ways = {
        way: {
            "seconds": statistics.median(seconds[way]),
            "times_faster": baseline / statistics.median(seconds[way]),
            "private": {step: grown / weights for step, grown in figures[way]["grown"].items()},
            "imports_torch": figures[way]["torch"],
            "cosine": sum(a * b for a, b in zip(reference, figures[way]["vector"], strict=True)),
        }
        for way in WAYS
    }
    pair = [start("mapped, torch", arguments, models) for _ in range(2)]
    # Looked at while both run: the second process's figures, taken after the first had everything mapped.
    shared = pair[1][1]["mapping"]
    for process, _, _ in pair:
        finish(process)
    backends = {}
    for backend in BACKENDS:
        try:
            process, figure, _ = start(backend, arguments, models)
        except SystemExit as error:
            backends[backend] = str(error).splitlines()[-1]
            continue
        finish(process)
        backends[backend] = sum(figure["grown"].values()) / weights
    return {"weights_bytes": weights, "ways": ways, "two_processes": shared, "backends": backends}


def versions() -> dict[str, str]:
    names = ("torch", "transformers", "safetensors", "pyarrow", "tokenizers", "numpy", "openvino")
    installed = {}
    for name in names:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = "not installed"
    return {"python": platform.python_version(), **installed}


def show(result: dict[str, Any]) -> None:
    megabytes = result["weights_bytes"] / 1e6
    print(f"all-MiniLM-L6-v2, {megabytes:.1f} MB of weights; {result['cpu']}, {result['cores']} cores")
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    print(f"\nOne sentence, from a cold process; median of {result['rounds']}, run in turns")
    print(
        f"{'':28} {'seconds':>8} {'faster':>7} {'tokenizer':>10} {'weights':>8} {'embed':>7} torch   cosine"
    )
    for way, row in result["ways"].items():
        tokenizer, weights, embed = (f"{share:.1%}" for share in row["private"].values())
        print(
            f"{way:28} {row['seconds']:8.2f} {row['times_faster']:6.1f}x {tokenizer:>10} {weights:>8}"
            f" {embed:>7} {'yes' if row['imports_torch'] else 'no':>5} {row['cosine']:8.6f}"
        )
    print("tokenizer, weights, embed: growth of the process's own (dirty) memory, in % of the weights;")
    print("ArrowEngine loads both in one step, shown under weights")
    shared = result["two_processes"]
    print(
        f"\nTwo processes: the mapping in the second is {shared['Rss'] / 1e6:.1f} MB resident,"
        f" {shared['Pss'] / 1e6:.1f} MB its share, {shared['Private_Dirty'] / 1e6:.1f} MB its own"
    )
    print("\nPrivate memory after the first embedding, in % of the weights, tokenizer and runtime included")
    for backend, share in result["backends"].items():
        print(f"{backend:28} {share if isinstance(share, str) else format(share, '.0%')}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", help="Hugging Face directory of all-MiniLM-L6-v2; default: the installed package"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, Path(arguments.source), arguments.models)
        return

    from aios_db.engine.backends.cpu_features import cpu_features
    from aios_db.engine.catalog.install import packaged_minilm
    from aios_db.engine.convert.huggingface import convert_huggingface

    arguments.source = arguments.source or str(packaged_minilm())
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch)
        convert_huggingface(arguments.source, models / "mapped")
        convert_huggingface(arguments.source, models / "v1", compression="zstd")
        result = measure(arguments, models)
    result |= {"versions": versions(), "rounds": arguments.rounds}
    result |= {"cpu": cpu_features().model, "cores": cpu_features().cores}
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
