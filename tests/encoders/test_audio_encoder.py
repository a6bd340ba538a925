"""Sounds to unit vectors: padding, windows, batches, and short clips in time proportional to their length."""

from __future__ import annotations

import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from aios_db.engine.architectures.whisper import WhisperConfig, WhisperEncoder
from aios_db.engine.architectures.whisper_clip import MARGIN, WhisperClipMean, silence_after, silence_table
from aios_db.engine.convert.model_writer import write_model
from aios_db.engine.encoders.audio_encoder import AudioEncoder, _Window
from aios_db.engine.encoders.media import embed_files
from aios_db.engine.frontends.log_mel import log_mel
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import DataError, NotSupportedError, WeightsError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

FRAMES = 600  # of a full window here: 12 s
SIZES = {"hidden_size": 64, "num_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (0.3 * np.sin(2 * np.pi * rng.uniform(100, 900) * time) + rng.normal(0, 0.05, time.size)).astype(
        np.float32
    )


def write_random(path: Path, metadata: bool = True) -> Path:
    torch.manual_seed(0)
    config = WhisperConfig(**SIZES, max_source_positions=FRAMES)
    model = WhisperEncoder(config)
    torch.nn.init.normal_(model.encoder.position_embedding, std=0.1)
    described = {"model_type": "Whisper Audio Encoder", "architecture": "Whisper", "config": SIZES}
    write_model(path, "random", described, model.state_dict().items())
    if not metadata:
        (path / "metadata.json").unlink()
    return path


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("models") / "whisper-random")


@pytest.fixture(scope="module")
def encoder(random_model: Path) -> AudioEncoder:
    return AudioEncoder(random_model)


def padded_mean(model: AudioEncoder, samples: np.ndarray) -> np.ndarray:
    """The definition: the full window, padded with silence, averaged over the frames of the sound."""
    window = torch.zeros(1, model._window_frames * 320)
    window[0, : samples.size] = torch.from_numpy(samples)
    with torch.inference_mode():
        mean = model._encoder(log_mel(window))[0, : -(-samples.size // 320)].mean(0).numpy()
    return mean / np.linalg.norm(mean)


def test_full_window_is_the_mean_over_its_frames(encoder: AudioEncoder) -> None:
    samples = sound(12.0)
    (vector,) = encoder.encode_audio([(samples, 16_000)])
    np.testing.assert_allclose(vector, padded_mean(encoder, samples), atol=1e-5)
    assert vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_long_sound_is_the_mean_of_its_windows_by_length(encoder: AudioEncoder) -> None:
    samples = sound(15.0)
    size = FRAMES * 320
    windows = [(samples[:size], 600), (samples[size:], 150)]
    means = [mean for part, _ in windows for _, mean in encoder._means([_Window(0, part)])]
    expected = sum(frames * mean for (_, frames), mean in zip(windows, means, strict=True))
    (vector,) = encoder.encode_audio([(samples, 16_000)])
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_order_and_batches_do_not_matter(encoder: AudioEncoder) -> None:
    sounds = [(sound(seconds, seed), 16_000) for seed, seconds in enumerate((0.3, 12.0, 1.2, 0.4, 13.5))]
    together = encoder.encode_audio(sounds)
    alone = np.concatenate([encoder.encode_audio([one]) for one in sounds])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_audio(sounds[::-1]), together[::-1], atol=1e-5)


def test_files_and_samples_give_one_vector(encoder: AudioEncoder) -> None:
    samples = sound(1.0)
    buffer = BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype="FLOAT")
    from_file, from_samples = encoder.encode_audio([buffer.getvalue(), (samples, 16_000)])
    np.testing.assert_allclose(from_file, from_samples, atol=1e-6)


def test_no_sounds_give_no_rows(encoder: AudioEncoder) -> None:
    assert encoder.encode_audio([]).shape == (0, encoder.dimension) == (0, 64)


def test_a_bad_sound_is_named_by_position(encoder: AudioEncoder) -> None:
    with pytest.raises(DataError, match="sound 1: audio of 4 bytes"):
        encoder.encode_audio([(sound(0.1), 16_000), b"what"])


def test_columns_of_files_keep_their_gaps(encoder: AudioEncoder) -> None:
    buffer = BytesIO()
    soundfile.write(buffer, sound(0.5), 16_000, format="WAV")
    first, nothing, second = embed_files(encoder.encode_audio, [buffer.getvalue(), None, buffer.getvalue()])
    assert nothing is None and first is not None and second is not None
    np.testing.assert_array_equal(first, second)
    assert embed_files(encoder.encode_audio, [None]) == [None]


def test_weights_that_do_not_bear_short_clips_are_run_in_full(
    random_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aios_db.engine.encoders.audio_encoder.MIN_CLIP_COSINE", 1.1)
    model = AudioEncoder(random_model)
    samples = sound(0.5)
    with caplog.at_level(logging.WARNING, "aios_db.engine.audio"):
        (vector,) = model.encode_audio([(samples, 16_000)])
    np.testing.assert_allclose(vector, padded_mean(model, samples), atol=1e-5)
    assert "padded to full windows" in caplog.text


def test_sizes_come_from_the_tensors_without_metadata(random_model: Path, tmp_path: Path) -> None:
    bare = AudioEncoder(write_random(tmp_path / "bare", metadata=False))
    assert bare._encoder.config == WhisperConfig(64, 2, 1, 128, 80, FRAMES)


def test_version_names_the_model_and_its_content(encoder: AudioEncoder) -> None:
    name, digest = encoder.version.split("@")
    assert name == "whisper-random" and len(digest) == 12


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    described = {"model_type": "x", "architecture": "Nonesuch", "config": {}}
    write_model(tmp_path / "other", "other", described, [("weight", torch.ones(2))])
    with pytest.raises(NotSupportedError, match="holds Nonesuch, not Whisper"):
        AudioEncoder(tmp_path / "other")


def test_unknown_tensors_without_metadata_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "other", "other", {}, [("weight", torch.ones(2))])
    (tmp_path / "other/metadata.json").unlink()
    with pytest.raises(WeightsError, match="no known architecture"):
        AudioEncoder(tmp_path / "other")


def test_weights_are_mapped_and_released(random_model: Path) -> None:
    model = AudioEncoder(random_model, engine=EngineConfig(max_resident_bytes=1))
    first = model.encode_audio([(sound(0.5), 16_000)])
    file, parameter = model._model.file, model._encoder.encoder.layers[0].fc1.weight
    assert file.maps(parameter.data_ptr())
    np.testing.assert_array_equal(model.encode_audio([(sound(0.5), 16_000)]), first)
    model.close()


@torch.inference_mode()
def test_silence_stands_for_itself() -> None:
    """A clip that is all silence hears what the table holds, but for the frames left out of it."""
    torch.manual_seed(0)
    whisper = WhisperEncoder(WhisperConfig(**SIZES, max_source_positions=FRAMES)).eval()
    torch.nn.init.normal_(whisper.encoder.position_embedding, std=0.02)
    mel = torch.full((1, 80, 2 * FRAMES), -1.5)
    frames = 50
    silence = silence_after(silence_table(whisper), frames, mel[:, 0, -1])
    weights = torch.eye(frames)  # each frame by itself
    window = mel[:, :, : 2 * (frames + MARGIN + 1)]
    clip = WhisperClipMean(whisper)(
        window.expand(frames, -1, -1), silence.expand(frames, -1, -1, -1, -1), weights
    )
    assert torch.nn.functional.cosine_similarity(clip, whisper(mel)[0, :frames], -1).min() > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "pattern"), [("data/fsdd/recordings", "*.wav"), ("data/esc10_dev", "*/*.ogg")]
)
def test_real_short_clips_are_close_to_the_padded_run(
    folder: str, pattern: str, tiny_en: Path, evaluation: Callable[[str], Path]
) -> None:
    from aios_db.engine.frontends.audio import decode_audio

    model = AudioEncoder(tiny_en)
    paths = sorted(evaluation(folder).glob(pattern))[:: 400 if "fsdd" in folder else 60]
    files = [path.read_bytes() for path in paths]
    expected = np.stack([padded_mean(model, decode_audio(file, 16_000)) for file in files])
    cosines = (model.encode_audio(files) * expected).sum(1)
    assert model._clips_are_close
    assert cosines.mean() > 0.99 and cosines.min() > 0.99
