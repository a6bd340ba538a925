from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from aios_db.engine.validation.split import bundled_texts, calibration_side, validation_side


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    nouns = itertools.product(("red", "old", "tall"), ("house", "dog", "man", "ship"), ("river", "road"))
    words = [f"The {a} {b} near the {c}." for a, b, c in nouns]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(words), encoding="utf-8")
    return path


def test_quantize_writes_a_validated_model(aios, minilm_dir, tmp_path, texts, monkeypatch):
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("AIOS_QUANTIZATION__CALIBRATION_TOKENS", "300")
    result = aios(
        "models", "quantize", minilm_dir, "--to", "int8", "--method", "ptq", "--calibration", texts,
        "--name", "small", "--json",
    )  # fmt: skip
    assert result.status == 0
    assert result.json["passed"]
    assert result.json["bytes"] < 24e6
    assert result.json["cosine_mean"] > 0.995
    metadata = json.loads((tmp_path / "models" / "small" / "metadata.json").read_text())
    assert metadata["quantization"]["method"] == "ptq"
    assert (tmp_path / "models" / "small" / "validation.json").is_file()
    again = aios("models", "quantize", minilm_dir, "--calibration", texts, "--name", "small")
    assert again.status == 1
    assert "exists" in again.err


def test_quantize_needs_readable_texts(aios, minilm_dir, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    result = aios("models", "quantize", minilm_dir, "--calibration", tmp_path / "bad.txt")
    assert result.status == 1
    assert "bad.txt" in result.err


def test_a_model_that_fails_validation_is_an_error(aios, minilm_dir, tmp_path, texts, monkeypatch):
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("AIOS_QUANTIZATION__CALIBRATION_TOKENS", "200")
    monkeypatch.setenv("AIOS_QUANTIZATION__MIXED_PRECISION", "false")
    result = aios("models", "quantize", minilm_dir, "--to", "int2", "--method", "ptq", "--calibration", texts)
    assert result.status == 1
    assert "cannot be used" in result.err


def test_the_two_sides_never_meet():
    texts = list(bundled_texts()) + [f"text {number}" for number in range(50)]
    assert not set(calibration_side(texts)) & set(validation_side(texts))
