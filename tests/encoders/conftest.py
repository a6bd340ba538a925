from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aios_db.engine.convert.model_writer import write_model


@pytest.fixture(scope="session")
def tiny_en(evaluation: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real Whisper tiny.en encoder as a model directory."""
    source = evaluation("models/whisper-tiny-en-encoder/encoder_fp16.npz")
    path = tmp_path_factory.mktemp("models") / "whisper-tiny-en"
    with np.load(source) as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file}
    tensors["encoder.position_embedding"] = tensors.pop("encoder.embed_positions.weight")
    config = {"hidden_size": 384, "num_layers": 4, "num_attention_heads": 6, "intermediate_size": 1536}
    described = {"model_type": "Whisper Audio Encoder", "architecture": "Whisper", "config": config}
    write_model(path, "whisper-tiny-en", described, tensors.items())
    return path
