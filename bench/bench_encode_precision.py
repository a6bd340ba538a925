"""How close each back end's vectors are to the standard one's in fp32, for each kind of text by itself.

python bench/bench_encode_precision.py --data captions.jsonl wikitext-2/valid.txt locomo3.json

A file is a kind, read as by bench_encode. What INT8 is calibrated on comes with the engine; nothing here is
calibrated on the data given.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
from bench_encode import environment, file_texts

from aios_db.engine.arrow_engine import ArrowEngine
from aios_db.schema.config import CpuConfig, EngineConfig


def encode_all(args: argparse.Namespace, backend: str, texts: dict[str, list[str]]) -> dict[str, Any]:
    """Return the vectors of ``texts`` by kind, from ``backend`` ("openvino/int8")."""
    name, _, precision = backend.partition("/")
    engine = ArrowEngine(
        args.model,
        engine=EngineConfig(models_dir=args.models_dir),
        cpu=CpuConfig(backend=name, precision=precision, min_cosine=0.0),  # type: ignore[arg-type]
    )
    choice = engine.tune()
    if (choice.backend, choice.precision) != (name, precision):
        raise SystemExit(f"{backend} cannot be used here (see the warnings)")
    vectors = {kind: engine.encode(of_kind) for kind, of_kind in texts.items()}
    engine.close()
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="minilm", help="a model directory, or a name in --models-dir")
    parser.add_argument("--models-dir", default=EngineConfig().models_dir)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--items", type=int, default=300, help="of each file, drawn with seed 0")
    parser.add_argument("--backends", nargs="+", default=["openvino/bf16", "openvino/int8"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    texts = {}
    for path in args.data:
        found = file_texts(path)
        texts[path.name] = random.Random(0).sample(found, min(args.items, len(found)))
    where = environment()
    print(", ".join(f"{name} {number}" for name, number in where["versions"].items() if number))
    reference = encode_all(args, "standard/fp32", texts)
    rows = []
    print(f"{'back end':16} {'texts':32} {'n':>5} {'words':>7} {'mean':>8} {'5 %':>8} {'least':>8}")
    for backend in args.backends:
        vectors = encode_all(args, backend, texts)
        for kind, of_kind in texts.items():
            cosine = (vectors[kind] * reference[kind]).sum(axis=1)
            row = {
                "backend": backend, "texts": kind, "n": len(of_kind),
                "words": float(np.mean([len(text.split()) for text in of_kind])),
                "mean": float(cosine.mean()), "p5": float(np.percentile(cosine, 5)),
                "least": float(cosine.min()),
            }  # fmt: skip
            rows.append(row)
            print(
                f"{backend:16} {kind:32} {row['n']:5} {row['words']:7.1f}"
                f" {row['mean']:8.5f} {row['p5']:8.5f} {row['least']:8.5f}"
            )
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, **where, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
