"""Quantize a causal language model at several budgets of bits and measure its perplexity against fp32.

    python bench/bench_perplexity.py --model DIR --calibration train.txt --development dev.txt --test test.txt
    python bench/bench_perplexity.py --model DIR --generated 2000 [--test more.txt]

Calibration files are read as a text a paragraph (line), the others as one running text each. With --generated
the model writes the texts itself, at temperature 1: so many for calibration, a quarter as many for
development and as many again for the test, each with seeds of its own. (A model's own samples are the
hardest test: there the original is the best predictor possible, and the logarithm of the rise is the
divergence of the two models.) The least budget within --most is chosen on the development text; what is
claimed is the rise on the test texts. A paragraph that occurs in either is left out of calibration.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recipes import recipe_config
from tokenizers import Tokenizer

from aios_db.engine.architectures.kinds import LANGUAGE
from aios_db.engine.architectures.qwen2 import KeyValueCache, Qwen2ForCausalLM
from aios_db.engine.catalog.find import find_model
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.catalog.open_model import open_model
from aios_db.engine.generation.language_model import LanguageModel
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.schema.config import EngineConfig, QuantizationConfig

RECIPES = " ".join(f"int2:full:{bits}" for bits in (3, 3.5, 4, 5, 6)) + " int2:gptq:4 int2:gptq:6 int8:ptq"
STORY = 200  # tokens of a text that the model writes
ROUNDS = 5
TIMED = 20_000  # characters of the test text


@dataclass(frozen=True)
class Texts:
    """What to calibrate on, to choose by, and to report."""

    calibration: list[str]
    development: list[str]
    tests: dict[str, list[str]]


def read_texts(arguments: argparse.Namespace, source: Path) -> Texts:
    calibration = [line.strip() for path in arguments.calibration for line in read(path).splitlines()]
    development = [read(path) for path in arguments.development]
    tests = {path.stem: [read(path)] for path in arguments.test}
    if arguments.generated:
        count = arguments.generated
        calibration += generate(source, count, seed=1)
        development += generate(source, count // 4, seed=2)
        tests = {"generated": generate(source, count // 4, seed=3), **tests}
    if not calibration or not development or not tests:
        raise SystemExit("give --calibration, --development and --test files, or --generated")
    held_out = {line.strip() for texts in (development, *tests.values()) for text in texts
                for line in text.splitlines()}  # fmt: skip
    calibration = [text for text in dict.fromkeys(calibration) if text and text not in held_out]
    return Texts(calibration, development, tests)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@torch.inference_mode()
def generate(source: Path, count: int, seed: int, batch: int = 64) -> list[str]:
    """Return ``count`` texts of at most 200 tokens, drawn from the model itself."""
    opened = open_model(source, EngineConfig(), LANGUAGE)
    network = opened.module
    assert isinstance(network, Qwen2ForCausalLM) and opened.directory.tokenizer is not None
    tokenizer = Tokenizer.from_file(str(opened.directory.tokenizer))
    start = tokenizer.encode("").ids
    if not start:
        raise SystemExit(f"{source}: its texts have no first token, so it cannot begin one: give files")
    ends = set(opened.config.get("eos_token_ids") or ())
    generator = torch.Generator().manual_seed(seed)
    texts: list[str] = []
    while len(texts) < count:
        cache = KeyValueCache(STORY)
        new, written = torch.tensor([start] * batch), [list[int]() for _ in range(batch)]
        for _ in range(STORY - len(start)):
            probabilities = network.next_logits(new, cache).softmax(-1)
            new = torch.multinomial(probabilities, 1, generator=generator)
            for tokens, token in zip(written, new[:, 0].tolist(), strict=True):
                tokens.append(token)
        for tokens in written:
            end = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
            texts.append(tokenizer.decode(tokens[:end]).strip())
    opened.close()
    return [text for text in texts[:count] if text]


def measure(model: LanguageModel, texts: Texts, window: int | None) -> dict[str, float]:
    sets = {"development": texts.development, **texts.tests}
    return {name: model.perplexity(each, window=window) for name, each in sets.items()}


def timed(original: LanguageModel, model: LanguageModel, texts: Texts) -> float:
    """Return how many times as fast as the original the model scores a text, measured in turns."""
    text = "\n".join(next(iter(texts.tests.values())))[:TIMED]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for each, taken in zip((original, model), seconds, strict=True):
            start = time.process_time()
            each.perplexity([text])
            taken.append(time.process_time() - start)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


def resident(model: LanguageModel) -> int:
    """Return the stored bytes of the weights in use, plus private copies."""
    report = model.memory_report()
    return sum(layer.copied or layer.stored for layer in report.layers)


def progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}   ", end="\n" if done == total else "", file=sys.stderr)


def given() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a model directory, or a name in --models-dir")
    parser.add_argument("--models-dir", default=EngineConfig().models_dir)
    parser.add_argument("--calibration", nargs="+", type=Path, default=[])
    parser.add_argument("--development", nargs="+", type=Path, default=[])
    parser.add_argument("--test", nargs="+", type=Path, default=[])
    parser.add_argument("--generated", type=int, default=0, metavar="N", help="texts that the model writes")
    parser.add_argument("--recipes", nargs="+", default=RECIPES.split(), help="see bench/recipes.py")
    parser.add_argument("--most", type=float, default=0.15, help="rise of perplexity to stay within")
    parser.add_argument("--window", type=int, help="tokens scored together; default what the model takes")
    parser.add_argument("--steps", type=int, default=QuantizationConfig().distillation_steps)
    parser.add_argument("--learning-rate", type=float, default=QuantizationConfig().learning_rate)
    parser.add_argument("--group-size", type=int, default=QuantizationConfig().group_size)
    parser.add_argument("--symmetric", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("quantized"), help="where the models go; resumable")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    arguments = given()
    torch.set_num_threads(arguments.threads)
    source = find_model(arguments.model, arguments.models_dir)
    texts = read_texts(arguments, source)
    base = QuantizationConfig(
        distillation_steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        group_size=arguments.group_size,
        symmetric=arguments.symmetric,
    )
    original = LanguageModel(source)
    before = measure(original, texts, arguments.window)
    print(f"{source}: {len(texts.calibration)} calibration texts, torch {torch.__version__}, "
          f"{platform.processor() or platform.machine()}, {arguments.threads} threads")  # fmt: skip
    rows: list[dict[str, Any]] = [
        {
            "recipe": "fp32", "bytes": ModelDirectory.open(source).weights.stat().st_size, "bits": 32.0,
            "bits_linear": 32.0, "int2_share": 0.0, "seconds": 0.0, "perplexity": before,
            "rise": dict.fromkeys(before, 0.0), "speed": 1.0, "resident": resident(original),
        }
    ]  # fmt: skip
    print_row(rows[0])
    for recipe in arguments.recipes:
        target = arguments.keep / f"{source.name}-{recipe.replace(':', '-')}"
        if not target.exists():
            config = recipe_config(recipe, base)
            quantize_model(source, target, calibration=texts.calibration, config=config, progress=progress)
        report = json.loads((target / "metadata.json").read_text(encoding="utf-8"))["quantization"]
        model = LanguageModel(Candidate(target))
        after = measure(model, texts, arguments.window)
        rows.append(
            {
                "recipe": recipe, "bytes": report["file_bytes"], "perplexity": after,
                **{name: report[name] for name in ("bits", "bits_linear", "int2_share", "seconds")},
                "rise": {name: after[name] / before[name] - 1 for name in before},
                "speed": timed(original, model, texts), "resident": resident(model),
            }
        )  # fmt: skip
        print_row(rows[-1])
        model.close()
    print_choice(rows, arguments.most)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def print_row(row: dict[str, Any]) -> None:
    measured = "  ".join(
        f"{name} {value:.3f} ({row['rise'][name]:+.1%})" for name, value in row["perplexity"].items()
    )
    print(
        f"{row['recipe']:<14} {row['bytes'] / 1e6:7.3f} MB  bits {row['bits']:5.2f}"
        f"  linear {row['bits_linear']:5.2f}  int2 {row['int2_share']:4.0%}  perplexity: {measured}"
        f"  speed x{row['speed']:.2f}  resident {row['resident'] / 1e6:.3f} MB  {row['seconds']:.0f} s",
        flush=True,
    )


def print_choice(rows: list[dict[str, Any]], most: float) -> None:
    """Print the recipe of fewest bits that stays within ``most`` on the development text."""
    within = [row for row in rows[1:] if row["int2_share"] and row["rise"]["development"] <= most]
    if not within:
        print(f"\nno recipe with 2-bit layers stays within {most:.0%} on the development text")
        return
    print(f"\nfewest bits within {most:.0%} on the development text:")
    print_row(min(within, key=lambda row: row["bits_linear"]))


if __name__ == "__main__":
    main()
