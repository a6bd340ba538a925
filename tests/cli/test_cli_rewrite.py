from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def models(tmp_path, minilm_dir, monkeypatch):
    """A models directory of its own with minilm in it."""
    shutil.copytree(minilm_dir, tmp_path / "models" / "minilm")
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def test_rewrite_compressed_and_back(aios, models):
    before = aios("models", "info", "minilm", "--json").json["bytes"]
    packed = aios("models", "rewrite", "minilm", "--compression", "zstd", "--json").json
    assert packed["changed"]
    assert packed["bytes"] < before
    assert aios("models", "rewrite", "minilm", "--json").json["bytes"] == before
    assert "changed  false" in aios("models", "rewrite", "minilm").out
