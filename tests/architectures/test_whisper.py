"""The Whisper encoder against transformers: random weights of Whisper-tiny, and the real tiny.en encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aios_db.engine.architectures.whisper import WhisperConfig, WhisperEncoder, build

transformers = pytest.importorskip("transformers")


def reference_encoder(config: WhisperConfig) -> torch.nn.Module:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Reference

    torch.manual_seed(0)
    sizes = transformers.WhisperConfig(
        d_model=config.hidden_size,
        encoder_layers=config.num_layers,
        encoder_attention_heads=config.num_attention_heads,
        encoder_ffn_dim=config.intermediate_size,
        num_mel_bins=config.num_mel_bins,
        max_source_positions=config.max_source_positions,
    )
    return Reference(sizes).eval()


def copy_weights(reference: torch.nn.Module, model: WhisperEncoder) -> None:
    stored = {f"encoder.{name}": tensor for name, tensor in reference.state_dict().items()}
    stored["encoder.position_embedding"] = stored.pop("encoder.embed_positions.weight")
    model.load_state_dict(stored)


def assert_equal_states(reference: torch.nn.Module, model: WhisperEncoder, mel: torch.Tensor) -> None:
    with torch.inference_mode():
        expected, actual = reference(mel).last_hidden_state, model.eval()(mel)
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "config",
    [WhisperConfig(num_layers=2), WhisperConfig(128, 1, 4, 256, num_mel_bins=128, max_source_positions=200)],
)
def test_random_weights_equal_transformers(config: WhisperConfig) -> None:
    reference, model = reference_encoder(config), WhisperEncoder(config)
    copy_weights(reference, model)
    mel = torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions) * 0.5
    assert_equal_states(reference, model, mel)


def test_real_tiny_en_equals_transformers(evaluation: Callable[[str], Path]) -> None:
    directory = evaluation("models/whisper-tiny-en-encoder")
    config = WhisperConfig()
    reference, model = reference_encoder(config), WhisperEncoder(config)
    with np.load(directory / "encoder_fp16.npz") as file:
        weights = {name.removeprefix("encoder."): torch.tensor(file[name]).float() for name in file}
    reference.load_state_dict(weights)
    copy_weights(reference, model)
    extract = transformers.WhisperFeatureExtractor()
    import soundfile

    samples, rate = soundfile.read(directory / "audio16k.wav", dtype="float32")
    mel = extract(samples, sampling_rate=rate, return_tensors="pt").input_features
    assert_equal_states(reference, model, mel)


def test_metadata_in_either_spelling_gives_the_same_sizes() -> None:
    stored = {"hidden_size": 512, "num_layers": 6, "num_attention_heads": 8, "intermediate_size": 2048}
    hugging_face = {
        "d_model": 512,
        "encoder_layers": 6,
        "encoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
    }
    expected = WhisperConfig(512, 6, 8, 2048)
    assert build(stored).config == build(hugging_face).config == expected


def test_empty_metadata_means_tiny() -> None:
    assert build({}).config == WhisperConfig()
