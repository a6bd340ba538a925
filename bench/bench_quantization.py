"""Quantize a text model by several recipes and measure each against fp32.

    python bench/bench_quantization.py --model minilm --calibration a.txt b.jsonl --validation sts-dev.csv

Calibration and validation files: .txt (a text a line), .csv (the first two columns; numbers in the third are
scores for Spearman), .json and .jsonl (every string of at least four words). A text in both is left out of
calibration. Nothing is tuned on the validation texts. For recipes see bench/recipes.py. Models that are
already in --keep are not made again, and the sensitivity of layers is measured once for each group size.

--frontier adds rounding, GPTQ, and GPTQ with a short distillation at several budgets, all calibrated on fewer
tokens than by default so that the whole is affordable; speed is not measured there, so that it may run beside
other work.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recipes import recipe_config

from aios_db.engine.catalog.find import find_model
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig, QuantizationConfig

RECIPES = "int8:ptq int2:ptq int2:gptq int2:gptq:3:0:1600:row int2:full:3:0:5000:row"
FRONTIER = tuple(
    f"int2:{method}:{bits}:0:{rest}"
    for bits in ("3", "4", "2.2", "6")
    for method, rest in (("ptq", "0"), ("gptq", "0"), ("gptq", "200"), ("gptq", "0:row"), ("gptq", "200:row"))
)
FRONTIER_TOKENS = 40_000  # of calibration
ROUNDS = 5
TIMED = 512
ON_CPU = DeviceConfig(target="cpu")  # on a GPU quantized weights are floats


@dataclass(frozen=True)
class Validation:
    """Texts to measure on; ``pairs`` are positions of scored pairs in ``texts``."""

    texts: list[str]
    pairs: list[tuple[int, int]]
    scores: list[float]


def read_texts(path: Path) -> list[str]:
    return [text for row in read_rows(path) for text in row[:2]]


def read_rows(path: Path) -> Iterator[list[str]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            yield from (row for row in csv.reader(file) if row)
    elif path.suffix in (".json", ".jsonl"):
        content = path.read_text(encoding="utf-8")
        documents = content.splitlines() if path.suffix == ".jsonl" else [content]
        for document in documents:
            yield from ([text] for text in strings(json.loads(document)))
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
        yield from ([line.strip()] for line in lines if len(line.split()) >= 4)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value.split()) >= 4:
            yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def read_validation(path: Path) -> Validation:
    rows = list(read_rows(path))
    texts = list(dict.fromkeys(text for row in rows for text in row[:2]))
    position = {text: number for number, text in enumerate(texts)}
    try:
        scores = [float(row[2]) for row in rows]
    except (IndexError, ValueError):
        return Validation(texts, [], [])
    return Validation(texts, [(position[row[0]], position[row[1]]) for row in rows], scores)


def spearman(vectors: NDArray[np.float32], validation: Validation) -> float | None:
    if not validation.pairs:
        return None
    from scipy.stats import spearmanr

    left, right = (vectors[[pair[side] for pair in validation.pairs]] for side in (0, 1))
    return float(spearmanr((left * right).sum(1), validation.scores).statistic)


def seconds(engines: dict[str, ArrowEngine], texts: list[str]) -> dict[str, float]:
    """Return each engine's median seconds, measured in turns."""
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.encode(texts)
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def resident(engine: ArrowEngine) -> int:
    """Return the stored bytes of the weights in use, plus private copies."""
    report = engine.memory_report()
    return sum(layer.copied or layer.stored for layer in report.layers)


def progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}   ", end="\n" if done == total else "", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--models-dir", default=EngineConfig().models_dir)
    parser.add_argument("--calibration", nargs="+", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--recipes", nargs="*", default=RECIPES.split(), help="see bench/recipes.py")
    parser.add_argument("--frontier", action="store_true", help="bits against cosine from 2 to 8 bits")
    parser.add_argument("--plot", type=Path, help="draw bits against cosine (needs matplotlib)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("quantized"), help="where the models go; resumable")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    source = find_model(arguments.model, arguments.models_dir)
    validation = read_validation(arguments.validation)
    held_out = set(validation.texts)
    calibration = [
        text for path in arguments.calibration for text in read_texts(path) if text not in held_out
    ]
    calibration = list(dict.fromkeys(calibration))
    print(
        f"{source}: {len(calibration)} calibration texts, {len(validation.texts)} validation texts, ", end=""
    )
    print(f"{platform.processor() or platform.machine()}")
    original = ArrowEngine(
        source,
        cpu=CpuConfig(backend="standard", precision="fp32", threads=arguments.threads),
        device=ON_CPU,
    )
    expected = original.encode(validation.texts)
    base = QuantizationConfig()
    rows = [
        {
            "recipe": "fp32", "bytes": (source / "weights.parquet").stat().st_size, "bits": 32.0,
            "bits_linear": 32.0, "int2_share": 0.0, "cosine_mean": 1.0, "cosine_p5": 1.0, "cosine_min": 1.0,
            "spearman": spearman(expected, validation), "speed": 1.0, "resident": resident(original),
        }
    ]  # fmt: skip
    recipes = dict.fromkeys(arguments.recipes, True)
    recipes |= {each: False for each in FRONTIER if arguments.frontier}
    for recipe, timed in recipes.items():
        target = arguments.keep / recipe.replace(":", "-")
        config = recipe_config(recipe, base)
        if recipe in FRONTIER:
            config = replace(config, calibration_tokens=FRONTIER_TOKENS)
        sizes = quantized(target, config, source, calibration)
        measured = compare(target, arguments.threads, original, expected, validation, timed=timed)
        rows.append({"recipe": recipe, **sizes, **measured})
        print_row(rows[-1])
    print()
    for row in rows:
        print_row(row)
    if arguments.plot:
        plot(rows, arguments.plot)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw bits over the linear layers against what the cosine lacks: a line for each way of quantizing."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["recipe"] in FRONTIER:
            numbers = row["recipe"].split(":")
            name = {"ptq": "rounding", "gptq": "GPTQ"}[numbers[1]]
            name += ", by row" if numbers[-1] == "row" else ""
            name += f", {numbers[4]} steps of distillation" if numbers[4] != "0" else ""
            lines.setdefault(name, []).append((row["bits_linear"], 1 - row["cosine_mean"]))
        elif row["recipe"] != "fp32":
            point = row["bits_linear"], 1 - row["cosine_mean"]
            axes.plot(*point, "k*")
            axes.annotate(row["recipe"], point, (4, -4), textcoords="offset points", rotation=-30, va="top")
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axes.set(xlabel="bits a weight, linear layers", ylabel="1 - mean cosine to fp32", yscale="log")
    axes.legend(loc="upper right")
    figure.savefig(path, bbox_inches="tight")


def quantized(
    target: Path, config: QuantizationConfig, source: Path, calibration: list[str]
) -> dict[str, Any]:
    """Quantize, unless a model of this recipe is there, and return the sizes."""
    if not target.exists():
        quantize_model(
            source, target, calibration=calibration, config=config, progress=progress,
            sensitivity=known_sensitivity(target.parent, config),
        )  # fmt: skip
    report = json.loads((target / "metadata.json").read_text(encoding="utf-8"))["quantization"]
    sizes = {name: report[name] for name in ("bits", "bits_linear", "int2_share", "seconds")}
    return {"bytes": report["file_bytes"], **sizes}


def known_sensitivity(directory: Path, config: QuantizationConfig) -> dict[str, float] | None:
    """Return what was measured for another model in ``directory`` of this group size; None if for none."""
    for path in sorted(directory.glob("int2-*/metadata.json")):
        recipe = json.loads(path.read_text(encoding="utf-8"))["quantization"]["recipe"]
        by_layer = recipe.get("mixed_by", "layer") == config.mixed_by == "layer"
        if config.target == "int2" and by_layer and recipe["group_size"] == config.group_size:
            return dict(recipe["sensitivity"])
    return None


def compare(
    path: Path,
    threads: int,
    original: ArrowEngine,
    expected: NDArray[np.float32],
    validation: Validation,
    *,
    timed: bool,
) -> dict[str, Any]:
    """Return a quantized model's precision, memory and, when ``timed``, speed as the engine runs it."""
    engine = ArrowEngine(Candidate(path), cpu=CpuConfig(threads=threads), device=ON_CPU)
    vectors = engine.encode(validation.texts)
    cosines = (vectors * expected).sum(1)
    measured = {
        "cosine_mean": float(cosines.mean()), "cosine_p5": float(np.quantile(cosines, 0.05)),
        "cosine_min": float(cosines.min()), "spearman": spearman(vectors, validation),
        "speed": None, "resident": resident(engine),
    }  # fmt: skip
    if timed:
        texts = validation.texts[:TIMED]
        times = seconds({"fp32": original, "quantized": engine}, texts)
        measured |= {
            "sentences_per_second": len(texts) / times["quantized"],
            "sentences_per_second_fp32": len(texts) / times["fp32"],
            "speed": times["fp32"] / times["quantized"],
        }
    return measured


def print_row(row: dict[str, Any]) -> None:
    score = f"{row['spearman']:.4f}" if row["spearman"] is not None else "-"
    speed = f"x{row['speed']:.2f}" if row["speed"] is not None else "-"
    print(
        f"{row['recipe']:<20} {row['bytes'] / 1e6:6.2f} MB  bits {row['bits']:5.2f}"
        f"  linear {row['bits_linear']:5.2f}  int2 {row['int2_share']:4.0%}"
        f"  cosine {row['cosine_mean']:.4f} p5 {row['cosine_p5']:.4f} min {row['cosine_min']:.4f}"
        f"  Spearman {score}  speed {speed}  resident {row['resident'] / 1e6:.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
