"""`aios models migrate`'s runner: V1 to V2, the same values, and whole after a kill at any step."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from aios_db.engine.catalog.fingerprint import verified_fingerprint
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.migrations import models
from aios_db.migrations.models import find_models, migrate_models, prune
from aios_db.schema.errors import (
    IntegrityError,
    ModelNotFoundError,
    OperationalError,
    WeightsError,
)

ROOT = Path(__file__).parents[2]
NAMES = ("first.weight", "second.weight", "third.bias")


def v1_model(path: Path, *, dtype: str = "float32", file: str = "weights.parquet", seed: int = 0) -> Path:
    """Write a small V1 directory as older converters did: zstd, no index in the footer."""
    random = np.random.default_rng(seed)
    shapes = ((7, 33), (33, 5), (5,))
    rows = []
    for name, shape in zip(NAMES, shapes, strict=True):
        values = random.normal(size=shape).astype(np.float32)
        if dtype == "bfloat16":
            data = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        else:
            data = values.astype(dtype).tobytes()
        count = values.size
        rows.append(
            {"layer_name": name, "shape": shape, "dtype": f"torch.{dtype}", "data": data, "num_params": count}
        )
    (path / "tokenizer").mkdir(parents=True)
    (path / "tokenizer" / "tokenizer.json").write_text("{}")
    metadata = {"model_name": "tiny", "num_layers": 3, "parquet_path": "C:\\old\\tiny.parquet", "näme": "ü"}
    (path / "metadata.json").write_text(json.dumps(metadata))
    pq.write_table(pa.Table.from_pylist(rows), path / file, compression="zstd", row_group_size=2)
    return path


def files(path: Path) -> dict[str, str]:
    """SHA-256 of every file that is not hidden."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    }


def values(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    file = WeightFile(path)
    return {name: np.array(file.array(name), np.float32) for name in file.layers}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_v2_has_the_values_of_v1_and_says_what_they_are(tmp_path: Path, dtype: str) -> None:
    path = v1_model(tmp_path / "tiny", dtype=dtype)
    before, identity = (
        values(path / "weights.parquet"),
        verified_fingerprint(WeightFile(path / "weights.parquet")),
    )
    (result,) = migrate_models(path)
    assert result.changed and result.version == 2
    file = WeightFile(path / "weights.parquet")
    assert file.version == 2 and file.is_mapped
    after = values(path / "weights.parquet")
    assert list(after) == list(before) == list(NAMES)
    assert all(np.array_equal(before[name], after[name]) for name in NAMES)
    expected = "fp16" if dtype == "float16" else "fp32"
    assert {(info.quant_type, info.dtype) for info in file.layers.values()} == {(expected, f"torch.{dtype}")}
    if dtype != "bfloat16":  # the same weights: what was embedded with them stays valid
        assert verified_fingerprint(file) == identity


def test_metadata_is_kept_and_names_the_new_content(tmp_path: Path) -> None:
    path = v1_model(tmp_path / "tiny")
    before = json.loads((path / "metadata.json").read_text())
    migrate_models(path)
    after = json.loads((path / "metadata.json").read_text())
    assert after == {**before, "content_sha256": WeightFile(path / "weights.parquet").content_sha256}


def test_old_files_stay_until_they_are_pruned(tmp_path: Path) -> None:
    path = v1_model(tmp_path / "tiny")
    old = files(path)
    (result,) = migrate_models(path)
    kept = {"weights.v1.parquet": "weights.parquet", "metadata.v1.json": "metadata.json"}
    assert {file.name for file in result.old_files} == set(kept)
    now = files(path)
    assert all(now[new] == old[name] for new, name in kept.items())
    assert {file.name for file in prune(path)} == set(kept)
    assert set(files(path)) == set(old) and prune(path) == []
    assert WeightFile(path / "weights.parquet").version == 2


def test_weights_under_the_older_name_are_found(tmp_path: Path) -> None:
    path = v1_model(tmp_path / "tiny", file="tiny.parquet")
    before = values(path / "tiny.parquet")
    (result,) = migrate_models(path)
    assert {file.name for file in result.old_files} == {"tiny.parquet", "metadata.v1.json"}
    assert all(np.array_equal(before[name], values(path / "weights.parquet")[name]) for name in NAMES)
    prune(path)
    assert not (path / "tiny.parquet").exists()


def test_prune_leaves_what_was_not_migrated(tmp_path: Path) -> None:
    path = v1_model(tmp_path / "tiny", file="tiny.parquet")
    before = files(path)
    assert prune(path) == [] and files(path) == before


def test_a_model_without_metadata_is_migrated(tmp_path: Path) -> None:
    path = v1_model(tmp_path / "tiny")
    (path / "metadata.json").unlink()
    (result,) = migrate_models(path)
    assert result.changed and not (path / "metadata.json").exists()


def test_a_whole_tree_is_migrated_and_v2_is_left_alone(tmp_path: Path) -> None:
    for number, name in enumerate(("text/a", "text/b", "vision/c", ".hidden/d")):
        v1_model(tmp_path / name, seed=number)
    results = migrate_models(tmp_path)
    assert [result.path.name for result in results if result.changed] == ["a", "b", "c"]
    assert WeightFile(tmp_path / ".hidden/d/weights.parquet").version == 1
    before = files(tmp_path)
    assert [result.changed for result in migrate_models(tmp_path)] == [False] * 3
    assert files(tmp_path) == before


def test_where_there_is_no_model_it_says_so(tmp_path: Path) -> None:
    for call in (find_models, migrate_models, prune):
        with pytest.raises(ModelNotFoundError, match="holds no model directory"):
            call(tmp_path)


def test_damaged_weights_are_refused_and_stay(tmp_path: Path) -> None:
    path = v1_model(tmp_path / "tiny")
    content = (path / "weights.parquet").read_bytes()
    (path / "weights.parquet").write_bytes(content[:-100])
    before = files(path)
    with pytest.raises(WeightsError, match=r"weights\.parquet"):
        migrate_models(path)
    assert files(path) == before


def test_what_was_written_is_compared_with_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = v1_model(tmp_path / "tiny")
    before = files(path)

    def off(file: WeightFile, name: str) -> StoredTensor:
        values = np.array(file.array(name))
        values.flat[0] += 1e-6
        return StoredTensor(file.layers[name], values)

    monkeypatch.setattr(models, "_float_layer", off)
    with pytest.raises(IntegrityError, match=r"'first\.weight' has other values"):
        migrate_models(path)
    assert files(path) == before

    def fewer(target: Path, layers: Any, *, version: int) -> str:
        return write_weights(target, list(layers)[1:], version=2)

    shutil.rmtree(path / ".migration")
    monkeypatch.setattr(models, "write_weights", fewer)
    with pytest.raises(IntegrityError, match="has 2 tensors where"):
        migrate_models(path)
    assert files(path) == before


def test_two_processes_do_not_migrate_one_model(tmp_path: Path) -> None:
    path = v1_model(tmp_path / "tiny")
    with FileLock(path / ".migration.lock"), pytest.raises(OperationalError, match="another process"):
        migrate_models(path)


def test_without_hard_links_the_old_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr("os.link", refuse)
    path = v1_model(tmp_path / "tiny")
    old = files(path)
    migrate_models(path)
    assert files(path)["weights.v1.parquet"] == old["weights.parquet"]


@pytest.mark.parametrize("journal", ["", "[]", '{"plan": {}, "done": ["converted", "verified"]}'])
def test_a_journal_of_something_else_is_not_trusted(tmp_path: Path, journal: str) -> None:
    path, whole = v1_model(tmp_path / "a/tiny"), v1_model(tmp_path / "b/tiny")
    (path / ".migration" / "tiny").mkdir(parents=True)
    (path / ".migration" / "tiny" / "weights.parquet").write_bytes(b"PAR1 nonsense PAR1")
    (path / ".migration" / "journal.json").write_text(journal)
    migrate_models(path)
    migrate_models(whole)
    assert files(path) == files(whole)


_KILLED = """
import os, signal, sys
from aios_db.migrations.models import migrate_models

def progress(step, *_):
    print(step, flush=True)
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

migrate_models(sys.argv[1], progress=progress)
"""


@pytest.mark.parametrize("file", ["weights.parquet", "tiny.parquet"])
def test_killed_at_each_step_it_finishes_when_run_again(tmp_path: Path, file: str) -> None:
    original = v1_model(tmp_path / "original" / "tiny", file=file)
    whole = shutil.copytree(original, tmp_path / "whole" / "tiny")
    steps: list[str] = []
    migrate_models(whole, progress=lambda step, *_: steps.append(step))
    assert steps == [
        *(f"wrote {name}" for name in NAMES), "converted", "verified", "old files kept",
        "switched metadata.json", "switched weights.parquet",
    ]  # fmt: skip
    before, expected, successes = values(original / file), files(whole), 0
    for step in steps:
        path = shutil.copytree(original, tmp_path / "killed" / "tiny")
        command = [sys.executable, "-c", _KILLED, str(path), step]
        run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
        assert run.returncode == -signal.SIGKILL and run.stdout.splitlines()[-1] == step, run.stderr
        current = path / "weights.parquet" if (path / "weights.parquet").exists() else path / file
        assert all(np.array_equal(before[name], values(current)[name]) for name in NAMES)  # usable meanwhile
        assert WeightFile(current).version == (2 if step == steps[-1] else 1)
        migrate_models(path)
        assert files(path) == expected
        assert not (path / ".migration").exists()
        successes += 1
        shutil.rmtree(path)
    assert successes == len(steps) == 8


@pytest.mark.parametrize("name", ["minilm", "qwen2.5-0.5b-arrow", "clip-vit-base-patch32"])
def test_real_metadata_survives(name: str, evaluation: Callable[[str], Path], tmp_path: Path) -> None:
    """The metadata.json of models in the field, with weights of its own tensors' names."""
    source = evaluation(f"fixtures/legacy_models/{name}/metadata.json")
    metadata = json.loads(source.read_text())
    path = tmp_path / name
    path.mkdir()
    shutil.copy(source, path / "metadata.json")
    layers = []
    for layer, described in metadata.get("layer_info", {"any": {"dtype": "torch.float32"}}).items():
        info = LayerInfo(layer, (2, 3), described["dtype"], 6)
        layers.append(
            StoredTensor(info, np.arange(6, dtype=np.float32))
        )  # some are labelled otherwise, as in the field
    write_weights(path / "weights.parquet", layers, compression="zstd")
    migrate_models(path)
    after = json.loads((path / "metadata.json").read_text())
    assert {key: after[key] for key in metadata if key != "content_sha256"} == metadata
    assert len(values(path / "weights.parquet")) == len(layers)


def test_minilm_makes_the_same_vectors_after_migration(minilm_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "minilm"
    shutil.copytree(minilm_dir, path)
    file = WeightFile(minilm_dir / "weights.parquet")
    write_weights(path / "weights.parquet", map(file.raw, file.layers), compression="zstd")
    texts = ["The key is under the blue pot.", "Wo ist der Schlüssel?"]
    old, version = (engine := ArrowEngine(path)).encode(texts), engine.version
    migrate_models(path)
    new = ArrowEngine(path)
    assert np.array_equal(new.encode(texts), old)
    assert new.version == version
