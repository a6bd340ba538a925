"""Whisper's sounds in the joint space: told by a codebook of the pairs, which the space keeps."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joint_world import WORDS, soundfile, tone

import aios_db
from aios_db.engine.architectures.whisper import WhisperConfig, WhisperEncoder
from aios_db.engine.convert.model_writer import write_model
from aios_db.engine.encoders.audio_encoder import AudioEncoder

Connect = Callable[[], aios_db.Connection]
SIZES = {"hidden_size": 64, "num_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
PAIRS = [{"text": f"a {word} thing", "audio": tone(word, seed)} for seed in range(4) for word in WORDS]


@pytest.fixture
def connect(minilm_dir: Path, tmp_path: Path) -> Connect:
    """Open a database whose sounds are encoded by a Whisper with weights drawn by lot."""
    torch.manual_seed(0)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "minilm").symlink_to(minilm_dir)
    model = WhisperEncoder(WhisperConfig(**SIZES, max_source_positions=600))
    torch.nn.init.normal_(model.encoder.position_embedding, std=0.02)
    described = {"model_type": "Whisper Audio Encoder", "architecture": "Whisper", "config": SIZES}
    write_model(tmp_path / "models" / "small", "small", described, model.state_dict().items())
    engine = {"models_dir": str(tmp_path / "models"), "audio_model": "small"}
    config: dict[str, Any] = {"engine": engine, "device": {"target": "cpu"}, "cpu": {"backend": "standard"}}
    return lambda: aios_db.connect(tmp_path / "agent.aios", config=config)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the sounds that are encoded."""
    lengths: list[int] = []
    encode = AudioEncoder.encode_states

    def counted(self: AudioEncoder, samples: np.ndarray) -> np.ndarray:
        lengths.append(len(samples))
        return encode(self, samples)

    monkeypatch.setattr(AudioEncoder, "encode_states", counted)
    return lengths


def test_each_sound_is_encoded_once_and_another_fit_encodes_none(
    connect: Connect, encoded: list[int]
) -> None:
    with connect() as con:
        first = con.fit_fusion(PAIRS)
        assert len(encoded) == len(PAIRS)
        con.remember([{"audio": each["audio"]} for each in PAIRS])
        assert len(encoded) == len(PAIRS)
    with connect() as con:
        again = con.fit_fusion(PAIRS)
        assert again.version == first.version
        assert len(encoded) == len(PAIRS)


def test_a_space_tells_sounds_by_its_own_codebook(connect: Connect) -> None:
    vectors = []
    with connect() as con:
        con.fit_fusion(PAIRS)
        con.remember([{"audio": tone(word, 9), "external_id": word} for word in WORDS])
        for word in WORDS:
            assert con.recall(f"a {word} thing", modality="audio", k=1)[0].external_id == word
        vectors.append(con.execute("SELECT embed_joint(NULL, audio := ?)", [tone("red", 9)]).fetchone()[0])
    with connect() as con:  # of the weights on the disk
        vectors.append(con.execute("SELECT embed_joint(NULL, audio := ?)", [tone("red", 9)]).fetchone()[0])
        con.fit_fusion(PAIRS[8:])  # with another codebook
        for word in WORDS:
            assert con.recall(audio=tone(word, 9), modality="audio", k=1)[0].external_id == word
    np.testing.assert_array_equal(*vectors)


def test_sounds_that_cannot_be_read_are_left_out_of_the_codebook(connect: Connect) -> None:
    with connect() as con:
        report = con.fit_fusion([*PAIRS, {"text": "a broken thing", "audio": b"RIFF"}])
        assert len(report.faults) == 1 and "audio of item 32" in report.faults[0]


def test_a_sound_that_the_encoder_makes_nan_of_is_left_out_of_the_codebook(connect: Connect) -> None:
    loud = BytesIO()
    soundfile.write(loud, np.full(8_000, 3e38, np.float32), 16_000, format="WAV", subtype="FLOAT")
    with connect() as con:
        report = con.fit_fusion([*PAIRS, {"text": "a loud thing", "audio": loud.getvalue()}])
        assert len(report.faults) == 1 and "audio of item 32" in report.faults[0]
