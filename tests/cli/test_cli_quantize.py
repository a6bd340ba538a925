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


def test_a_quantized_model_is_a_row_with_its_parent_recipe_and_report(
    aios, minilm_dir, tmp_path, texts, monkeypatch
):
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("AIOS_QUANTIZATION__CALIBRATION_TOKENS", "300")
    db = tmp_path / "agent.aios"
    assert aios("init", db).status == 0
    common = ("--method", "ptq", "--calibration", texts, "--db", db, "--json")
    made = aios("models", "quantize", minilm_dir, "--to", "int8", "--name", "small", *common).json
    assert made["recorded"] and made["version"].startswith("small@")
    monkeypatch.setenv("AIOS_QUANTIZATION__MIXED_PRECISION", "false")
    monkeypatch.setenv("AIOS_QUANTIZATION__DISTILLATION_STEPS", "0")
    refused = aios("models", "quantize", minilm_dir, "--to", "int2", "--name", "bad", "--steps", "0", *common)
    assert refused.status == 1 and "cannot be used" in refused.err
    rows = {row["name"]: row for row in aios("models", "versions", "--db", db, "--json").json}
    assert set(rows) == {"minilm", "small"}  # what was refused is no version
    row = rows["small"]
    assert row["version"] == made["version"] and not row["is_active"]
    assert (row["schema_version"], row["quant_type"]) == ("V2", "int8")
    assert row["parent_version"] == rows["minilm"]["version"]
    recipe = json.loads(row["calibration"])
    assert recipe["recipe"]["method"] == "ptq" and len(recipe["calibration_sha256"]) == 64
    query = "SELECT report_id, passed, original_version FROM validation_reports ORDER BY passed"
    refused, passed = aios("sql", query, "--db", db, "--format", "json").json
    assert not refused["passed"] and passed["passed"]
    assert passed["report_id"] == row["report_id"] and passed["original_version"] == row["parent_version"]


def test_quantize_needs_readable_texts(aios, minilm_dir, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    result = aios("models", "quantize", minilm_dir, "--calibration", tmp_path / "bad.txt")
    assert result.status == 1
    assert "bad.txt" in result.err


def test_the_two_sides_never_meet():
    texts = list(bundled_texts()) + [f"text {number}" for number in range(50)]
    assert not set(calibration_side(texts)) & set(validation_side(texts))
