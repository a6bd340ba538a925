"""Encoders of sounds and pictures are calibrated with files, validated on others, and run from integers."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_gate import require_valid

from aios_db.cli import main
from aios_db.engine.architectures.registry import build_model
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.convert.model_writer import write_model
from aios_db.engine.encoders.audio_encoder import AudioEncoder
from aios_db.engine.encoders.image_encoder import ImageEncoder
from aios_db.engine.quantization.calibration import Sounds
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.subject import load_model
from aios_db.engine.validation.split import calibration_files, validation_files
from aios_db.engine.validation.validator import validate_version
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig, QuantizationConfig
from aios_db.schema.errors import DataError

soundfile = pytest.importorskip("soundfile")
Image = pytest.importorskip("PIL.Image")

FLOAT = CpuConfig(backend="standard", precision="fp32")
SIZES: dict[str, dict[str, Any]] = {
    "ViT": {
        "image_size": 64, "patch_size": 16, "hidden_size": 64, "num_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "projection_dim": 32,
    },
    "Whisper": {
        "hidden_size": 64, "num_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
        "num_mel_bins": 80, "max_source_positions": 120,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A vision and an audio encoder with random weights."""
    made = {}
    for architecture, config in SIZES.items():
        torch.manual_seed(0)
        shapes = {name: each.shape for name, each in build_model(architecture, config).named_parameters()}
        tensors = [
            (
                name,
                torch.ones(shape) if "norm" in name and name.endswith("weight") else torch.randn(shape) * 0.1,
            )
            for name, shape in shapes.items()
        ]
        made[architecture] = tmp_path_factory.mktemp("models") / architecture.lower()
        described = {"model_type": architecture, "architecture": architecture, "config": config}
        write_model(made[architecture], architecture, described, tensors)
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sixty sounds of a fifth of a second to a second, and sixty pictures, some in a folder within."""
    random = np.random.default_rng(0)
    sounds, pictures = tmp_path_factory.mktemp("sounds"), tmp_path_factory.mktemp("pictures")
    for folder in (sounds, pictures):
        (folder / "more").mkdir()
        (folder / "notes.txt").write_text("neither a sound nor a picture")
    for number in range(60):
        inside = "more" if number % 3 == 0 else "."
        time = np.arange(int(random.uniform(0.2, 1) * 16_000)) / 16_000
        wave = np.sin(2 * np.pi * random.uniform(100, 2000) * time) * random.uniform(0.1, 0.5)
        soundfile.write(sounds / inside / f"{number}.wav", wave + random.normal(0, 0.02, time.size), 16_000)
        coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((90, 70)).save(pictures / inside / f"{number}.png")
    return {"Whisper": sounds, "ViT": pictures}


def encode(path: Path, files: list[Path], cpu: CpuConfig = CpuConfig()) -> np.ndarray:  # noqa: B008 - frozen
    content = [file.read_bytes() for file in files]
    if "whisper" in path.name:
        return AudioEncoder(Candidate(path), cpu=cpu).encode_audio(content)
    return ImageEncoder(Candidate(path), cpu=cpu).encode_image(content)


@pytest.mark.parametrize("architecture", ["ViT", "Whisper"])
def test_int8_and_int2_from_files(
    architecture: str,
    models: dict[str, Path],
    folders: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, folder = models[architecture], folders[architecture]
    held_out = validation_files(sorted(folder.rglob("*.*g")) or sorted(folder.rglob("*.wav")))
    original = encode(source, held_out, FLOAT)
    reached = {}
    for name, config in {
        "int8": QuantizationConfig(target="int8", method="ptq"),
        "ptq": QuantizationConfig(target="int2", method="ptq", mixed_precision=False, distillation_steps=0),
        "gptq": QuantizationConfig(target="int2", method="gptq", mixed_precision=False, distillation_steps=0),
        "mixed": QuantizationConfig(target="int2", method="gptq", max_bits=6.0, distillation_steps=0),
        "rows": QuantizationConfig(
            target="int2", method="gptq", max_bits=6.0, distillation_steps=0, mixed_by="row"
        ),
    }.items():
        target = tmp_path / f"{source.name}-{name}"
        report = quantize_model(
            source, target, files=[folder], config=replace(config, calibration_tokens=8_000)
        )
        kinds = {info.quant_type for info in WeightFile(target / "weights.parquet").layers.values()}
        assert ("int2" in kinds) == (name != "int8")
        assert report.bits_linear <= (9 if name == "int8" else 6)
        with caplog.at_level(logging.INFO, "aios_db.engine.quantization"):
            vectors = encode(target, held_out)
        assert "quantized layers, " in caplog.text
        reached[name] = float((vectors * original).sum(1).mean())
        assert reached[name] == pytest.approx(
            (encode(target, held_out, FLOAT) * original).sum(1).mean(), abs=0.01
        )
    assert reached["int8"] > 0.995
    assert reached["ptq"] < reached["gptq"] < reached["mixed"] < reached["rows"]
    validated = validate_version(source, tmp_path / f"{source.name}-int8", files=[folder])
    assert validated.files == len(held_out) > 20
    assert validated.vectors is not None and validated.vectors.count == len(held_out)
    assert validated.vectors.cosine_mean == pytest.approx(reached["int8"], abs=0.003)
    assert require_valid(tmp_path / f"{source.name}-int8") == validated


def test_the_sides_are_told_by_content(folders: dict[str, Path], tmp_path: Path) -> None:
    files = sorted(folders["ViT"].rglob("*.png"))
    fit, judge = calibration_files(files), validation_files(files)
    assert len(fit) > 15 and len(judge) > 15 and sorted(fit + judge) == files
    renamed = tmp_path / "another name.gif"
    renamed.write_bytes(judge[0].read_bytes())
    assert validation_files([renamed]) == [renamed]


def test_sounds_share_windows_and_silence_at_the_end_does_not_count(
    models: dict[str, Path], folders: dict[str, Path]
) -> None:
    files = sorted(folders["Whisper"].rglob("*.wav"))
    directory = ModelDirectory.open(models["Whisper"])
    model = load_model(directory, WeightFile(directory.weights))
    batches = Sounds(directory, files).batches(model, tokens=240, seed=0)
    windows = sum(len(batch.arguments[0]) for batch in batches)
    assert windows < len(files)  # several share one
    sounding = sum(soundfile.info(file).frames for file in files) / 320
    assert sounding < sum(batch.positions for batch in batches) < 120 * windows
    assert all(batch.arguments[0].shape == (len(batch.arguments[0]), 80, 240) for batch in batches)


def test_files_that_cannot_be_read_are_left_out(
    models: dict[str, Path], folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    directory = ModelDirectory.open(models["Whisper"])
    model = load_model(directory, WeightFile(directory.weights))
    with pytest.raises(DataError, match="none that can be read"):
        Sounds(directory, [tmp_path / "broken.wav"]).batches(model, tokens=240, seed=0)
    assert "broken.wav is left out" in caplog.text
    with pytest.raises(DataError, match="calibration files"):
        quantize_model(models["ViT"], tmp_path / "q", calibration=["a text"])


def test_on_the_command_line(
    models: dict[str, Path],
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    folder = str(folders["ViT"])
    command = ["models", "quantize", str(models["ViT"]), "--to", "int8", "--calibration", folder]
    assert main([*command, "--method", "ptq", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["passed"] and made["cosine_mean"] > 0.995 and not made["recorded"]
    again = ["models", "validate", "vit-int8", "--original", str(models["ViT"]), "--files", folder]
    assert main(again) == 0
    assert "cosine_mean" in capsys.readouterr().out
