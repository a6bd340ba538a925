"""`aios models migrate --quantize`: quantized, validated, and only then in the old weights' place."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_gate import require_valid

from aios_db.engine.weights.reader import WeightFile
from aios_db.migrations.models import migrate_models, prune
from aios_db.schema.config import QuantizationConfig, ValidationConfig
from aios_db.schema.errors import ValidationError

INT8 = QuantizationConfig(target="int8", method="ptq", calibration_tokens=4_000)


def test_a_model_is_quantized_in_its_place(tiny_bert: Path, texts: list[str], tmp_path: Path) -> None:
    path = shutil.copytree(tiny_bert, tmp_path / "tiny")
    steps: list[str] = []
    (result,) = migrate_models(
        path, quantize=INT8, calibration=texts, progress=lambda step, *_: steps.append(step)
    )
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


INT2 = QuantizationConfig(
    target="int2", method="gptq", max_bits=6.0, calibration_tokens=300, distillation_steps=0
)
ANY = ValidationConfig(min_cosine=-1.0)

# Forked before torch has computed anything, each child runs one migration and kills itself in it.
_KILLED = """
import json, os, signal, sys
import torch
from aios_db.engine.quantization import quantizer
from aios_db.engine.validation import validator
from aios_db.migrations.models import migrate_models
from aios_db.schema.config import QuantizationConfig, ValidationConfig

torch.set_num_threads(1)
task = json.load(sys.stdin)
for number, root in task["kills"]:
    child = os.fork()
    if not child:
        steps = []
        def progress(*step):
            steps.append(step)
            if len(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
        migrate_models(
            root, quantize=QuantizationConfig(**task["recipe"]), calibration=task["texts"],
            validation=ValidationConfig(min_cosine=-1.0), progress=progress,
        )
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else "finished", flush=True)
"""


def outcome(root: Path) -> dict[str, Any]:
    """What a migration leaves: weights by their content, metadata and reports without times and places."""
    found: dict[str, Any] = {}
    for file in sorted(root.rglob("*")):
        name = str(file.relative_to(root))
        if file.is_dir() or file.name.endswith((".lock", ".html")):
            continue
        if file.name == "weights.parquet":
            found[name] = WeightFile(file).content_sha256
        elif file.name in ("metadata.json", "validation.json"):
            content = json.loads(file.read_text())
            for key in ("quantized_at", "report_id", "created_at"):
                content.pop(key, None)
            for key in ("source", "target", "seconds"):
                content.get("quantization", {}).pop(key, None)
            found[name] = content
        else:
            found[name] = file.read_bytes()
    return found


def test_killed_at_any_step_a_tree_is_finished_by_the_next_run(
    tiny_bert: Path, texts: list[str], tmp_path: Path
) -> None:
    original = tmp_path / "original"
    for name in ("a/tiny", "b/tiny"):
        shutil.copytree(tiny_bert, original / name)
    whole = shutil.copytree(original, tmp_path / "whole")
    steps: list[tuple[str, int, int]] = []
    migrate_models(
        whole, quantize=INT2, calibration=texts, validation=ANY, progress=lambda *step: steps.append(step)
    )
    half = len(steps) // 2
    assert steps[:half] == steps[half:]  # of the one model and of the other
    assert [name for name, *_ in steps[half - 7 : half]] == [
        "converted", "verified", "old files kept", "switched metadata.json", "switched validation.json",
        "switched validation.html", "switched weights.parquet",
    ]  # fmt: skip
    expected = outcome(whole)
    assert sum(name.endswith("validation.html") for name in (str(each) for each in whole.rglob("*"))) == 2
    measured, fitted = steps.index(("measuring sensitivity", 5, 12)), steps.index(("GPTQ", 9, 12))
    stops = [measured, fitted, *range(half - 7, half), half + fitted, 2 * half - 5, 2 * half - 1]
    kills = []
    for stop in stops:
        shutil.copytree(original, tmp_path / f"killed-{stop}")
        kills.append((stop + 1, str(tmp_path / f"killed-{stop}")))
    recipe = dataclasses.asdict(INT2)
    task = json.dumps({"kills": kills, "recipe": recipe, "texts": texts})
    run = subprocess.run(
        [sys.executable, "-c", _KILLED], input=task, check=False, capture_output=True, text=True
    )
    assert run.stdout.split() == ["9"] * len(stops), run.stderr[-3000:]
    for stop, (_, root) in zip(stops, kills, strict=True):
        first, second = (WeightFile(Path(root) / name / "tiny" / "weights.parquet") for name in "ab")
        assert first.version == (2 if stop >= half - 1 else 1)  # each is the old model or the new one
        assert second.version == (2 if stop == 2 * half - 1 else 1)
        migrate_models(root, quantize=INT2, calibration=texts, validation=ANY)
        assert outcome(Path(root)) == expected
        assert require_valid(Path(root) / "a" / "tiny") is not None
    deleted = prune(whole)
    assert {file.name for file in deleted} == {"weights.v1.parquet", "metadata.v1.json"} and len(deleted) == 4
    assert require_valid(whole / "a" / "tiny") is not None


def test_other_calibration_texts_begin_the_migration_again(
    tiny_bert: Path, texts: list[str], tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def stop(step: str, done: int, total: int) -> None:
        if step == "converted":
            raise Killed

    paths = [shutil.copytree(tiny_bert, tmp_path / name / "tiny") for name in "ab"]
    with pytest.raises(Killed):
        migrate_models(paths[0], quantize=INT2, calibration=texts[:60], validation=ANY, progress=stop)
    for path in paths:
        migrate_models(path, quantize=INT2, calibration=texts, validation=ANY)
    assert outcome(paths[0]) == outcome(paths[1])
