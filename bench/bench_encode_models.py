"""Make the model directories that bench_encode measures where there is no network.

python bench/bench_encode_models.py MODELS_DIR --whisper whisper-tiny-en-encoder/encoder_fp16.npz

CLIP ViT-B/32 with random weights (drawn with a seed), and the Whisper encoder of a .npz file.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from aios_db.engine.architectures.clip import ClipVisionConfig
from aios_db.engine.convert.model_writer import write_model


def write_whisper(target: Path, source: Path) -> None:
    with np.load(source) as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file}
    tensors["encoder.position_embedding"] = tensors.pop("encoder.embed_positions.weight")
    config = {"hidden_size": 384, "num_layers": 4, "num_attention_heads": 6, "intermediate_size": 1536}
    described = {"model_type": "Whisper Audio Encoder", "architecture": "Whisper", "config": config}
    write_model(target, target.name, described, tensors.items())


def write_clip(target: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig())  # its defaults are ViT-B/32
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("position_ids")}
    described = {
        "model_type": "CLIP Vision Transformer",
        "architecture": "ViT",
        "config": asdict(ClipVisionConfig()),
    }
    write_model(target, target.name, described, state.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("--whisper", type=Path, help="the encoder's tensors by Hugging Face's names")
    args = parser.parse_args()
    args.models_dir.mkdir(parents=True, exist_ok=True)
    write_clip(args.models_dir / "clip-vit-base-patch32")
    if args.whisper:
        write_whisper(args.models_dir / "whisper-tiny-en", args.whisper)


if __name__ == "__main__":
    main()
