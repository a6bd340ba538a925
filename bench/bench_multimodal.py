"""Measure the joint space of text, sound and picture through SQL, on pairs that fitting did not see.

    python bench/bench_multimodal.py --models MODELS --flickr flickr8k_trimodal_dev --mobilenet FILE.tflite
        [--mlp] [--fsdd fsdd/recordings] [--esc esc10_dev] [--folds 3] [--cached] [--json FILE]

MODELS holds minilm and whisper-tiny-en. Flickr: 500 triples are fitted and 200 asked, MobileNet plugged in.
Spoken digits (fsdd): one speaker is left out in turn. Sounds (ESC-10): 10 recordings per class are fitted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aios_db
from aios_db.engine.fusion.measuring import recall_of

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def mobilenet(file: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(file), num_threads=1)
    model.allocate_tensors()
    given, made = model.get_input_details()[0]["index"], model.get_output_details()[0]
    scale, zero = made["quantization"]

    def embed(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = []
        for picture in pictures:
            model.set_tensor(given, picture[None])
            model.invoke()
            rows.append((model.get_tensor(made["index"]).ravel().astype(np.float32) - zero) * scale)
        return np.stack(rows)

    return embed


def connect(path: Path, arguments: argparse.Namespace) -> aios_db.Connection:
    config = {
        "engine": {"models_dir": str(arguments.models), "audio_model": "whisper-tiny-en"},
        "device": {"target": "cpu"},
    }
    con = aios_db.connect(path, config=config)
    if arguments.mobilenet is not None:
        con.register_encoder("mobilenet", "image", 1024, mobilenet(arguments.mobilenet))
    return con


def rank(con: aios_db.Connection, wanted: str, modality: str, **asked: Any) -> int:
    """Return the place of the wanted memory among the first ten, from 0, else 10."""
    names = "".join(f", {name} := ${name}" for name in asked if name != "query")
    sql = f"SELECT external_id FROM recall($query{names}, modality := '{modality}', k := 10)"  # noqa: S608
    found = [row[0] for row in con.execute(sql, {"query": None, **asked}).fetchall()]
    return found.index(wanted) if wanted in found else 10


def flickr(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    folder: Path = arguments.flickr
    items = [json.loads(line) for line in (folder / "captions.jsonl").open(encoding="utf-8")]
    ranks: dict[tuple[str, str], list[int]] = defaultdict(list)
    fits: list[dict[str, Any]] = []
    for fold in range(arguments.folds):
        order = np.random.default_rng(fold).permutation(len(items))
        fitted, asked = [items[i] for i in order[:500]], [items[i] for i in order[500:]]
        with tempfile.TemporaryDirectory() as directory:
            with connect(Path(directory) / "a.aios", arguments) as con:
                began = time.process_time()
                report = con.fit_fusion(
                    [_pair(folder, item) for item in fitted], mlp=arguments.mlp, cached=arguments.cached
                )
                fits.append(
                    {**report.seconds, "processor": time.process_time() - began, "mlp": str(report.trial)}
                )
                con.remember(
                    [{"image": _image(folder, each), "external_id": f"image {each['id']}"} for each in asked]
                )
                con.remember(
                    [{"audio": _audio(folder, each), "external_id": f"audio {each['id']}"} for each in asked]
                )
                con.remember(
                    [
                        {
                            "text": each["spoken_caption"],
                            "kind": "document",
                            "external_id": f"text {each['id']}",
                        }
                        for each in asked
                    ]
                )
            with connect(Path(directory) / "a.aios", arguments) as con:
                for each in asked:
                    parts = {
                        "text": ("query", each["spoken_caption"]),
                        "image": ("image", str(_image(folder, each))),
                        "audio": ("audio", str(_audio(folder, each))),
                    }
                    for finds in parts:
                        others = [name for name in parts if name != finds]
                        for asking in ([others[0]], [others[1]], others):
                            given = dict(parts[name] for name in asking)
                            place = rank(con, f"{finds} {each['id']}", finds, **given)
                            ranks["+".join(asking), finds].append(place)
                if not fold:
                    yield latency(con, folder, asked)
    for (asks, finds), found in ranks.items():
        for k in (1, 10):
            yield _row("flickr", asks, finds, found, 200, k)
    yield {"set": "flickr", "fit": fits}


def latency(con: aios_db.Connection, folder: Path, asked: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return processor milliseconds per recall, medians, of texts and pictures that were encoded before."""
    took: dict[str, list[float]] = defaultdict(list)
    for each in asked:
        questions = {
            "text": {"query": each["spoken_caption"]},
            "picture": {"image": str(_image(folder, each))},
        }
        for name, question in questions.items():
            rank(con, "", "image", **question)
            began = time.process_time()
            rank(con, "", "image", **question)
            took[name].append(1e3 * (time.process_time() - began))
    medians = {name: float(np.median(each)) for name, each in took.items()}
    return {"set": "flickr", "milliseconds": medians, "ratio": medians["picture"] / medians["text"]}


def _pair(folder: Path, item: dict[str, Any]) -> dict[str, Any]:
    return {"text": item["captions"], "image": str(_image(folder, item)), "audio": str(_audio(folder, item))}


def _image(folder: Path, item: dict[str, Any]) -> Path:
    return folder / "images" / f"{item['id']}.jpg"


def _audio(folder: Path, item: dict[str, Any]) -> Path:
    return folder / "audio" / f"{item['id']}.mp3"


def _row(  # noqa: PLR0917 - a row
    data: str, asks: str, finds: str, found: Sequence[int], candidates: int, k: int
) -> dict[str, Any]:
    measured = recall_of(asks, finds, np.array(found), candidates, k)
    return {"set": data, **vars(measured)}


def named(
    arguments: argparse.Namespace,
    data: str,
    fitted: Sequence[tuple[Path, str, str]],
    asked: Sequence[tuple[Path, str]],
) -> list[int]:
    """Fit recordings to the words for them, and return the rank of each other recording's word."""
    words = sorted({word for _, word, _ in fitted})
    with tempfile.TemporaryDirectory() as directory, connect(Path(directory) / "a.aios", arguments) as con:
        pairs = [{"text": word, "audio": str(file), "group": group} for file, word, group in fitted]
        con.fit_fusion(pairs, cached=arguments.cached)
        con.remember([{"text": word, "kind": "document", "external_id": word} for word in words])
        return [rank(con, word, "text", audio=str(file)) for file, word in asked]


def digits(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    files = sorted(arguments.fsdd.glob("*.wav"))
    told = [(file, DIGITS[int(file.name[0])], file.stem.split("_")[1]) for file in files]
    for speaker in sorted({each[2] for each in told}):
        fitted = [each for each in told if each[2] != speaker]
        asked = [(file, word) for file, word, who in told if who == speaker]
        yield _row("fsdd", f"audio of {speaker}", "text", named(arguments, "fsdd", fitted, asked), 10, 1)


def sounds(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    told = [(file, file.parent.name.partition(" - ")[2]) for file in sorted(arguments.esc.glob("*/*.ogg"))]
    found: list[int] = []
    for fold in range(arguments.folds):
        order = np.random.default_rng(fold).permutation(len(told)).tolist()
        taken: dict[str, int] = defaultdict(int)
        fitted, asked = [], []
        for file, word in (told[place] for place in order):
            taken[word] += 1
            if taken[word] <= 10:
                fitted.append((file, word, str(file)))
            else:
                asked.append((file, word))
        found += named(arguments, "esc", fitted, asked)
    yield _row("esc10", "audio", "text", found, 10, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--flickr", type=Path)
    parser.add_argument("--mobilenet", type=Path)
    parser.add_argument("--fsdd", type=Path)
    parser.add_argument("--esc", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--cached", action="store_true", help="keep features beside MODELS for the next run")
    parser.add_argument("--mlp", action="store_true", help="train a fusion MLP, too (Flickr)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name, measure in (("flickr", flickr), ("fsdd", digits), ("esc", sounds)):
        if getattr(arguments, name) is not None:
            for row in measure(arguments):
                rows.append(row)
                print(json.dumps(row), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
