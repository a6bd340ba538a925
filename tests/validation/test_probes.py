"""Language models are judged by their perplexity, vision and audio encoders on made inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from model_gate import require_valid

from aios_db.engine.convert.llama2c import convert_llama2c
from aios_db.engine.validation.validator import PrecisionValidator, validate_version
from aios_db.schema.errors import WeightsError


@pytest.mark.parametrize("architecture", ["ViT", "Whisper"])
def test_encoders_of_other_kinds_are_compared_on_made_inputs(
    architecture: str, make_model: Callable[..., Path], tmp_path: Path, rounded: Callable[..., Path]
) -> None:
    original = make_model(tmp_path / "original", architecture)
    good, bad = (rounded(original, tmp_path / kind, kind) for kind in ("int8", "int2"))
    report = validate_version(original, good, ["a text that does not matter"])
    assert report.vectors is not None and report.vectors.cosine_min > 0.99
    assert (report.texts_given, report.texts_bundled) == (0, 0)
    assert report.vectors.count == (48 if architecture == "ViT" else 16)
    assert "made of seeded noise" in (good / "validation.html").read_text()
    worse = validate_version(original, bad).vectors
    assert worse is not None and worse.cosine_mean < report.vectors.cosine_min


@pytest.fixture
def stories(evaluation: Callable[[str], Path], tmp_path: Path) -> Path:
    weights = evaluation("models/stories260K/stories260K.bin")
    return convert_llama2c(weights, weights.with_name("tok512.bin"), tmp_path / "stories")


def test_language_models_are_compared_by_perplexity(
    stories: Path, tmp_path: Path, rounded: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = (rounded(stories, tmp_path / kind, kind) for kind in ("int8", "int2"))
    seen: list[tuple[str, int, int]] = []
    report = PrecisionValidator().validate(stories, good, progress=lambda *step: seen.append(step))
    assert seen[0] == ("reading texts with stories", 1, 64)
    assert seen[-1] == ("reading texts with int8", 64, 64)
    assert report.vectors is None and report.perplexity is not None
    assert report.perplexity.tokens > 1000 and abs(report.perplexity.increase) < 0.02
    with caplog.at_level(logging.WARNING, "aios_db.engine.validation"):
        report = validate_version(stories, bad)
    assert report.perplexity is not None and report.perplexity.increase > 0.15
    told = [each for each in caplog.records if each.name == "aios_db.engine.validation"]
    assert [record.levelname for record in told] == ["WARNING"]
    assert (
        "perplexity rises by" in caplog.text and report.warnings[0] in (bad / "validation.html").read_text()
    )
    assert require_valid(bad) == report  # a rise only warns


def test_models_of_two_kinds_and_models_without_tokenizer_are_refused(
    stories: Path, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    vision = make_model(tmp_path / "vision", "ViT")
    with pytest.raises(WeightsError, match="only in one of"):
        validate_version(stories, vision)
    (stories / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"no tokenizer\.json: its perplexity"):
        validate_version(stories, stories)
