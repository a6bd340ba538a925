"""How close each back end's vectors are to the standard one's in fp32, for each kind of item by itself.

python bench/bench_encode_precision.py --data captions.jsonl wikitext-2/valid.txt locomo3.json
python bench/bench_encode_precision.py --model whisper-tiny-en --data recordings/ --backends openvino/bf16

Each path is a kind: a file of texts, read as by bench_encode, or a folder of sounds or pictures. What INT8 is
calibrated on comes with the engine; nothing here is calibrated on the data given.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_encode import environment, file_texts, kind_name
from numpy.typing import NDArray

from aios_db.engine.catalog.find import find_model
from aios_db.engine.encoders.open_encoder import open_encoder
from aios_db.engine.frontends.audio import decode_audio
from aios_db.schema.config import CpuConfig, EngineConfig


def read_kind(path: Path, kind: str, count: int) -> Sequence[Any]:
    """Return ``count`` items of ``path``, drawn with seed 0: texts, sounds as long as they are, or images."""
    found: list[Any] = file_texts(path) if kind == "text" else sorted(p for p in path.rglob("*.*"))
    drawn = random.Random(0).sample(found, min(count, len(found)))
    if kind == "audio":
        return [(decode_audio(file.read_bytes(), 16_000), 16_000) for file in drawn]
    return [file.read_bytes() for file in drawn] if kind == "image" else drawn


def encode_all(
    args: argparse.Namespace, backend: str, kind: str, items: dict[str, Sequence[Any]]
) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of ``items`` by their name, from ``backend`` ("openvino/int8")."""
    name, _, precision = backend.partition("/")
    engine = open_encoder(
        args.model,
        engine=EngineConfig(models_dir=args.models_dir),
        cpu=CpuConfig(backend=name, precision=precision, min_cosine=0.0),  # type: ignore[arg-type]
    )
    choice = engine.tune()
    if (choice.backend, choice.precision) != (name, precision):
        raise SystemExit(f"{backend} cannot be used here (see the warnings)")
    encode = getattr(engine, {"text": "encode"}.get(kind, f"encode_{kind}"))
    vectors = {name: encode(some) for name, some in items.items()}
    engine.close()
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="minilm", help="a model directory, or a name in --models-dir")
    parser.add_argument("--models-dir", default=EngineConfig().models_dir)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--items", type=int, default=300, help="of each path, drawn with seed 0")
    parser.add_argument("--backends", nargs="+", default=["openvino/bf16", "openvino/int8"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    kind = kind_name(find_model(args.model, args.models_dir))
    items = {path.name: read_kind(path, kind, args.items) for path in args.data}
    where = environment()
    print(", ".join(f"{name} {number}" for name, number in where["versions"].items() if number))
    reference = encode_all(args, "standard/fp32", kind, items)
    rows = []
    print(f"{'back end':16} {'items':32} {'n':>5} {'mean':>8} {'5 %':>8} {'least':>8}")
    for backend in args.backends:
        for name, vectors in encode_all(args, backend, kind, items).items():
            cosine = (vectors * reference[name]).sum(axis=1)
            mean, p5, least = float(cosine.mean()), float(np.percentile(cosine, 5)), float(cosine.min())
            rows.append(
                {"backend": backend, "items": name, "n": len(cosine), "mean": mean, "p5": p5, "least": least}
            )
            print(f"{backend:16} {name:32} {len(cosine):5} {mean:8.5f} {p5:8.5f} {least:8.5f}")
    if args.json:
        args.json.write_text(
            json.dumps({"model": args.model, **where, "rows": rows}, indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
