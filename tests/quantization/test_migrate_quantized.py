"""`aios models migrate --quantize`: quantized, validated, and only then in the old weights' place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aios_db.engine.validation.gate import require_valid
from aios_db.engine.weights.reader import WeightFile
from aios_db.migrations.models import migrate_models
from aios_db.schema.config import QuantizationConfig, ValidationConfig
from aios_db.schema.errors import ValidationError

INT8 = QuantizationConfig(target="int8", method="ptq")


def test_a_model_is_quantized_in_its_place(tiny_bert: Path, texts: list[str], tmp_path: Path) -> None:
    path = shutil.copytree(tiny_bert, tmp_path / "tiny")
    steps: list[str] = []
    (result,) = migrate_models(path, quantize=INT8, calibration=texts, on_step=steps.append)
    assert steps[-1] == "switched weights.parquet" and result.bytes_after < result.bytes_before
    file = WeightFile(path / "weights.parquet")
    assert file.version == 2 and any(info.quant_type == "int8" for info in file.layers.values())
    report = require_valid(path)
    assert report is not None and report.passed and report.candidate.version.startswith("tiny@")
    assert {old.name for old in result.old_files} == {"weights.v1.parquet", "metadata.v1.json"}


def test_refused_weights_leave_the_model_as_it_was(tiny_bert: Path, texts: list[str], tmp_path: Path) -> None:
    path = shutil.copytree(tiny_bert, tmp_path / "tiny")
    before = (path / "weights.parquet").read_bytes()
    with pytest.raises(ValidationError, match="stays V1, its quantized weights were refused"):
        migrate_models(path, quantize=INT8, calibration=texts, validation=ValidationConfig(min_cosine=1.0))
    assert (path / "weights.parquet").read_bytes() == before and require_valid(path) is None
    migrate_models(path, quantize=INT8, calibration=texts)  # with other thresholds it goes on
    assert require_valid(path) is not None
