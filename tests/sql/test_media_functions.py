"""`embed_audio` and `embed_image` in SQL, over small models with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

import aios_db
from aios_db.engine.architectures.clip import ClipImageEncoder, ClipVisionConfig
from aios_db.engine.architectures.whisper import WhisperConfig, WhisperEncoder
from aios_db.engine.convert.model_writer import write_model
from aios_db.engine.encoders.audio_encoder import AudioEncoder
from aios_db.engine.encoders.image_encoder import ImageEncoder
from aios_db.schema.config import Config, DeviceConfig, EngineConfig

soundfile = pytest.importorskip("soundfile")
Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.sql


@pytest.fixture
def models(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sound = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    whisper = WhisperEncoder(WhisperConfig(**sound, max_source_positions=100))
    torch.nn.init.normal_(whisper.encoder.position_embedding)
    picture = {"image_size": 32, "patch_size": 16, "projection_dim": 8} | sound
    clip = ClipImageEncoder(ClipVisionConfig(**picture))
    torch.nn.init.normal_(clip.vision_model.embeddings.class_embedding)
    for name, architecture, config, model in (
        ("whisper-tiny", "Whisper", sound, whisper),
        ("clip-vit-base-patch32", "ViT", picture, clip),
    ):
        described = {"model_type": architecture, "architecture": architecture, "config": config}
        write_model(tmp_path / "models" / name, name, described, model.state_dict().items())
    return tmp_path / "models"


@pytest.fixture
def connection(models: Path, tmp_path: Path) -> Iterator[aios_db.Connection]:
    config = Config(engine=EngineConfig(models_dir=str(models)), device=DeviceConfig(target="cpu"))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
        yield connection


def sound_file() -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, np.sin(np.arange(8000) / 10).astype(np.float32), 16_000, format="WAV")
    return buffer.getvalue()


def picture_file() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


def test_embed_audio(connection: aios_db.Connection, models: Path) -> None:
    rows = connection.execute(
        "SELECT embed_audio(file) FROM (VALUES (?::BLOB), (NULL::BLOB)) v(file)", [sound_file()]
    ).fetchall()
    expected = AudioEncoder(models / "whisper-tiny").encode_audio([sound_file()])[0]
    assert rows[1] == (None,)
    np.testing.assert_allclose(rows[0][0], expected, atol=1e-6)


def test_embed_image(connection: aios_db.Connection, models: Path) -> None:
    rows = connection.execute(
        "SELECT embed_image(file) FROM (VALUES (?::BLOB), (NULL::BLOB)) v(file)", [picture_file()]
    ).fetchall()
    expected = ImageEncoder(models / "clip-vit-base-patch32").encode_image([picture_file()])[0]
    assert rows[1] == (None,)
    np.testing.assert_allclose(rows[0][0], expected, atol=1e-6)


@pytest.mark.parametrize("function", ["embed_audio", "embed_image"])
def test_a_corrupt_file_is_a_data_error(function: str, connection: aios_db.Connection) -> None:
    with pytest.raises(aios_db.DataError, match="cannot be decoded"):
        connection.execute(f"SELECT {function}('nothing of the kind'::BLOB)").fetchall()
