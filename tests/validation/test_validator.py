from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from model_gate import require_valid

from aios_db.engine.catalog.report import ValidationReport, load_report
from aios_db.engine.validation import tensors
from aios_db.engine.validation.split import bundled_texts, calibration_side, validation_side
from aios_db.engine.validation.validator import PrecisionValidator, validate_version
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import ValidationConfig
from aios_db.schema.errors import OperationalError, ValidationError, WeightsError


@pytest.fixture(scope="module")
def versions(
    minilm_dir: Path, rounded: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """MiniLM in int8, and in int2 by plain rounding, each validated against the float original."""
    place = tmp_path_factory.mktemp("versions")
    made = {kind: rounded(minilm_dir, place / kind, kind) for kind in ("int8", "int2")}
    for path in made.values():
        validate_version(minilm_dir, path, config=ValidationConfig(max_texts=64))
    return made


def test_int8_passes_and_its_report_says_so(minilm_dir: Path, versions: dict[str, Path]) -> None:
    report = require_valid(versions["int8"])
    assert report is not None and report.passed and report.vectors is not None
    assert 0.995 < report.vectors.cosine_min < report.vectors.cosine_p5 <= report.vectors.cosine_mean <= 1
    assert report.vectors.recall_at_10 > 0.9 and report.vectors.spearman > 0.99
    assert (report.texts_given, report.texts_bundled) == (0, 64)
    assert report.original.version == f"minilm@{report.original.sha256[:12]}"
    assert report.candidate.bits_per_weight == pytest.approx(8 + 64 / 32, abs=0.1)  # scale and zero point
    assert len(report.layers) == len(WeightFile(minilm_dir / "weights.parquet").layers) == 103
    assert ValidationReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_plain_int2_is_refused_logged_and_kept_out(
    minilm_dir: Path, versions: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "aios_db.engine.validation"):
        report = validate_version(minilm_dir, versions["int2"])
    assert not report.passed and report.vectors is not None and report.vectors.cosine_mean < 0.95
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1 and "int2@" in errors[0].message and "below 0.95" in errors[0].message
    with pytest.raises(ValidationError, match=r"was refused: the mean cosine"):
        require_valid(versions["int2"])


def test_a_lower_threshold_from_the_configuration_decides(
    minilm_dir: Path, versions: dict[str, Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(versions["int2"], tmp_path / "copy")
    lower = ValidationConfig(min_cosine=0.1, max_texts=16)
    report = PrecisionValidator(lower).validate(minilm_dir, copy)
    assert report.passed and report.min_cosine == 0.1
    assert require_valid(copy, lower, integers=True) == report
    with pytest.raises(ValidationError, match=r"validated at 0\.1 .* below the 0\.95 of validation"):
        require_valid(copy)


def test_only_validation_texts_of_the_user_are_used(minilm_dir: Path, versions: dict[str, Path]) -> None:
    texts = [f"memory number {number} about the boat" for number in range(300)]
    report = PrecisionValidator(ValidationConfig(max_texts=100)).validate(
        minilm_dir, versions["int8"], calibration_side(texts)
    )
    assert (report.texts_given, report.texts_bundled) == (0, 64)
    report = PrecisionValidator(ValidationConfig(max_texts=100)).validate(minilm_dir, versions["int8"], texts)
    assert len(validation_side(texts)) > 100
    assert (report.texts_given, report.texts_bundled) == (100, 0)


def test_weights_other_than_the_reported_ones_are_refused(versions: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(versions["int8"], tmp_path / "copy")
    shutil.copy(versions["int2"] / "weights.parquet", copy / "weights.parquet")
    with pytest.raises(ValidationError, match="of other weights"):
        require_valid(copy)


def test_quantized_weights_without_a_report_are_refused(versions: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(versions["int8"], tmp_path / "copy")
    (copy / "validation.json").unlink()
    with pytest.raises(ValidationError, match="never validated: aios models validate"):
        require_valid(copy)


def test_float_models_need_no_report(minilm_dir: Path) -> None:
    assert load_report(minilm_dir) is None
    assert require_valid(minilm_dir) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"vectors": null}', "not json"])
def test_a_damaged_report_is_refused(versions: dict[str, Path], tmp_path: Path, content: str) -> None:
    copy = shutil.copytree(versions["int8"], tmp_path / "copy")
    (copy / "validation.json").write_text(content)
    with pytest.raises(WeightsError, match=r"validation\.json is no validation report"):
        require_valid(copy)


def test_models_of_different_tensors_are_not_compared(
    minilm_dir: Path, tmp_path: Path, rounded: Callable[..., Path]
) -> None:
    from aios_db.engine.weights.writer import write_weights

    other = rounded(minilm_dir, tmp_path / "other", "fp16")
    file = WeightFile(minilm_dir / "weights.parquet")
    write_weights(other / "weights.parquet", [file.raw(name) for name in list(file.layers)[1:]])
    with pytest.raises(WeightsError, match="only in one of"):
        validate_version(minilm_dir, other)


def test_a_report_that_cannot_be_written_is_an_error(
    minilm_dir: Path, versions: dict[str, Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(versions["int8"], tmp_path / "copy")
    for name in ("validation.json", "validation.html"):
        (copy / name).unlink()
        (copy / name).mkdir()
    with pytest.raises(OperationalError, match="cannot write the validation report"):
        PrecisionValidator(ValidationConfig(max_texts=8)).validate(minilm_dir, copy)


def test_the_page_is_self_contained_and_shows_the_verdict(versions: dict[str, Path]) -> None:
    pages = {kind: (path / "validation.html").read_text() for kind, path in versions.items()}
    assert ">passed<" in pages["int8"] and ">refused<" in pages["int2"]
    assert "is the mean cosine" not in pages["int8"] and "below 0.95" in pages["int2"]
    for page in pages.values():
        assert "http" not in page.replace("http-equiv", "") and "<script" not in page
        assert page.count("<figure>") == 2
        drawings = [part.split("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
        assert len(drawings) == 2 + 103
        for drawing in drawings:
            ElementTree.fromstring("<svg" + drawing)


def test_bundled_texts_reach_the_minimum() -> None:
    assert len(bundled_texts()) >= 64


def test_a_large_model_is_compared_on_fewer_texts() -> None:
    texts = validation_side(f"text {number}" for number in range(2000))
    counts = {}
    for weights in (22_000_000, 100_000_000, 400_000_000, 7_000_000_000):
        given, bundled = PrecisionValidator()._choose(texts, weights)
        assert not bundled
        counts[weights] = len(given)
    assert list(counts.values()) == [512, 512, 128, 64]


def test_the_error_of_a_layer_is_summed_over_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_PART", 3)
    original = np.array([3, 0, 0, 0, 0, 0, 4], np.float32)
    candidate = original + np.array([0, 0, 6, 0, 0, 0, 8], np.float32)
    assert tensors._norms(original, candidate) == (5, 10)
