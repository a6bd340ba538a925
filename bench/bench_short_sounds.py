"""Short sounds: cosine and time of the engine's short way against the padded window.

    python bench/bench_short_sounds.py --model whisper-tiny-en --data recordings/ sounds/ [--json FILE]

For each folder: sounds drawn with a seed, each embedded both ways in fp32 on the standard back end, in turns.
Files are split in two by a hash of their names: the engine's constants were chosen on half 0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.encoders.audio_encoder import FRAME, SAMPLE_RATE, AudioEncoder
from aios_db.engine.frontends.audio import decode_audio
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
STANDARD = CpuConfig(backend="standard", precision="fp32")


def padded(model: AudioEncoder, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over the sound's frames of the full window, as a unit vector."""
    import torch

    from aios_db.engine.frontends.log_mel import log_mel

    window = torch.zeros(1, model._window_frames * FRAME)
    window[0, : samples.size] = torch.from_numpy(samples)
    with torch.inference_mode():
        states = model._encoder(log_mel(window, model._encoder.config.num_mel_bins))
    mean: NDArray[np.float32] = states[0, : -(-samples.size // FRAME)].mean(0).numpy()
    return mean / np.linalg.norm(mean)


def half_of(path: Path) -> int:
    return hashlib.sha256(path.name.encode()).digest()[0] % 2


def compare(model: AudioEncoder, folder: Path, count: int, seed: int, half: int) -> dict[str, object]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    paths = [path for path in paths if half_of(path) == half]
    cosines, ratios, seconds = [], [], []
    for path in random.Random(seed).sample(paths, min(count, len(paths))):
        samples = decode_audio(path.read_bytes(), SAMPLE_RATE)[: model._window_frames * FRAME]
        start = time.perf_counter()
        expected = padded(model, samples)
        middle = time.perf_counter()
        (actual,) = model.encode_audio([(samples, SAMPLE_RATE)])
        ratios.append((middle - start) / (time.perf_counter() - middle))
        cosines.append(float(actual @ expected))
        seconds.append(samples.size / SAMPLE_RATE)
    return {
        "folder": folder.name,
        "sounds": len(cosines),
        "median_seconds": float(np.median(seconds)),
        "cosine_mean": float(np.mean(cosines)),
        "cosine_p5": float(np.percentile(cosines, 5)),
        "cosine_min": min(cosines),
        "times_faster": float(np.median(ratios)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--models-dir", default=EngineConfig().models_dir)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--half", type=int, choices=(0, 1), default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = AudioEncoder(
        arguments.model,
        engine=EngineConfig(models_dir=arguments.models_dir),
        cpu=STANDARD,
        device=DeviceConfig(target="cpu"),
    )
    model.encode_audio([(np.ones(SAMPLE_RATE, np.float32), SAMPLE_RATE)])  # the silence, once a model
    rows = [
        compare(model, folder, arguments.count, arguments.seed, arguments.half) for folder in arguments.data
    ]
    print(f"{model.version}, standard/fp32")
    print(f"{'folder':24}{'sounds':>7}{'median s':>10}{'mean':>9}{'p5':>9}{'min':>9}{'x faster':>10}")
    for row in rows:
        print(
            f"{row['folder']:24}{row['sounds']:7}{row['median_seconds']:10.2f}{row['cosine_mean']:9.5f}"
            f"{row['cosine_p5']:9.5f}{row['cosine_min']:9.5f}{row['times_faster']:10.1f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"model": model.version, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
