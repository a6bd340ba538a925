from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import lance
import pyarrow.parquet as pq
import pytest

from aios_db.encoder import LazyEncoder
from aios_db.engine.validation.validator import validate_version
from aios_db.memory_store import MemoryStore
from aios_db.models.activation import BackgroundActivation, activate
from aios_db.schema.config import Config, EngineConfig, ValidationConfig
from aios_db.schema.errors import ModelNotFoundError, ProgrammingError, ValidationError

QUICK = ValidationConfig(max_texts=64)


@pytest.fixture(scope="module")
def models(
    minilm_dir: Path, rounded: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """MiniLM, its int8 version, which passes, and plain int2, which does not."""
    place = tmp_path_factory.mktemp("models")
    made = {kind: rounded(minilm_dir, place / f"minilm-{kind}", kind) for kind in ("int8", "int2")}
    for path in made.values():
        validate_version(minilm_dir, path, config=QUICK)
    return {"fp32": minilm_dir, **made}


@pytest.fixture
def store(tmp_path: Path, models: dict[str, Path]) -> Iterator[MemoryStore]:
    config = Config(engine=EngineConfig(text_model=str(models["fp32"])))
    store = MemoryStore.open(tmp_path / "agent.aios", config=config, encoder=LazyEncoder(config))
    yield store
    store.close()


def test_install_records_the_version_and_its_report(store: MemoryStore, models: dict[str, Path]) -> None:
    began = datetime.now(timezone.utc) - timedelta(minutes=30)  # the models of this file are made before
    original, int8 = store.versions.install(models["fp32"]), store.versions.install(models["int8"])
    assert store.versions.install(models["int8"]) == int8  # again changes nothing
    assert store.versions.all() == [original, int8]
    assert (original.schema_version, original.quant_type, original.report_id) == ("V1", "fp32", None)
    assert (int8.schema_version, int8.quant_type, int8.space) == ("V2", "int8", "text")
    assert int8.version == f"minilm-int8@{int8.sha256[:12]}" and int8.parent_version == original.version
    assert original.bits_per_weight == 32 and 8 < int8.bits_per_weight < 10.2
    assert int8.bytes == (models["int8"] / "weights.parquet").stat().st_size
    report = json.loads((models["int8"] / "validation.json").read_text())
    (row,) = store.dataset("validation_reports").to_table().to_pylist()
    assert row["report_id"] == int8.report_id == report["report_id"] and row["passed"]
    assert row["version"] == int8.version and row["sha256"] == int8.sha256
    assert row["cosine_mean"] == report["vectors"]["cosine_mean"] > 0.99
    assert json.loads(row["report"]) == report
    assert began < row["created_at"] <= datetime.now(timezone.utc)
    assert store.versions.active() is None


def test_one_version_of_a_space_is_active(store: MemoryStore, models: dict[str, Path]) -> None:
    for kind in ("fp32", "int8", "fp32", "int8"):
        version = activate(store, models[kind])
        assert version.is_active and store.versions.active() == store.versions.find(version.version)
        assert sum(each.is_active for each in store.versions.all()) == 1
    with pytest.raises(ProgrammingError, match="is active: activate another"):
        store.versions.remove(version.version)
    other = next(each for each in store.versions.all() if not each.is_active)
    store.versions.remove(other.version)
    assert [each.version for each in store.versions.all()] == [version.version]


def test_a_version_is_installed_and_made_active_in_one_commit(
    store: MemoryStore, models: dict[str, Path]
) -> None:
    for kind in ("fp32", "int8", "fp32", "fp32"):
        before = store.dataset("weight_versions").version
        version = store.versions.install(models[kind], active=True)
        assert version.is_active and store.versions.active() == version
        assert sum(each.is_active for each in store.versions.all()) == 1
        assert store.dataset("weight_versions").version == before + 1
    first, second = store.versions.all()
    assert first.activated_at is not None and second.activated_at is not None
    assert first.activated_at > second.activated_at >= second.installed_at


def test_a_refused_version_cannot_be_activated_and_the_old_one_stays(
    store: MemoryStore, models: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    before = activate(store, models["fp32"])
    with pytest.raises(ValidationError, match="minilm-int2 was refused: the mean cosine"):
        activate(store, models["int2"])
    assert any(record.levelname == "ERROR" for record in caplog.records)
    assert [each.version for each in store.versions.all()] == [before.version]
    active = store.versions.active()
    assert active is not None and active.version == before.version

    job = BackgroundActivation(store, models["int2"])
    assert job.wait(60) and isinstance(job.error, ValidationError)
    job.stop()


ENDS = """
from aios_db.models import activation
def activate(store, model, progress, stop):
    print("stopped" if stop.wait(60) else "left behind")
activation.activate = activate
activation.BackgroundActivation(None, "minilm")
"""


def test_a_process_that_ends_stops_what_runs_in_the_background() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "stopped\n"


def test_a_quantized_file_of_another_writer_cannot_be_activated_without_a_report(
    store: MemoryStore, models: dict[str, Path], tmp_path: Path
) -> None:
    before = activate(store, models["fp32"])
    foreign = shutil.copytree(models["int8"], tmp_path / "foreign")
    (foreign / "validation.json").unlink()
    bare = pq.read_table(foreign / "weights.parquet").replace_schema_metadata(None)
    pq.write_table(bare, foreign / "weights.parquet", compression="zstd")
    with pytest.raises(ValidationError, match="has no validation report"):
        store.versions.install(foreign, active=True)
    version = store.versions.install(foreign)  # with a warning
    with pytest.raises(ValidationError, match="has no validation report"):
        store.versions.set_active(version.version)
    active = store.versions.active()
    assert active is not None and active.version == before.version


def test_a_refused_report_can_be_kept_for_the_record(store: MemoryStore, models: dict[str, Path]) -> None:
    from aios_db.engine.catalog.report import load_report

    report = load_report(models["int2"])
    assert report is not None
    store.versions.record_report(report)
    (row,) = store.dataset("validation_reports").to_table().to_pylist()
    assert not row["passed"] and "below 0.95" in row["failures"][0]


def test_weights_exchanged_after_the_validation_are_refused(
    store: MemoryStore, models: dict[str, Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(models["int8"], tmp_path / "minilm-int8")
    version = store.versions.install(copy)
    shutil.copy(models["int2"] / "weights.parquet", copy / "weights.parquet")
    for attempt in (lambda: store.versions.set_active(version.version), lambda: activate(store, copy)):
        with pytest.raises(ValidationError, match="of other weights"):
            attempt()
    shutil.copy(models["fp32"] / "weights.parquet", copy / "weights.parquet")
    with pytest.raises(ValidationError, match="holds other weights than"):
        store.versions.set_active(version.version)
    assert store.versions.active() is None


def test_what_is_not_there_is_named(store: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no weight version 'nobody@0'"):
        store.versions.set_active("nobody@0")
    with pytest.raises(ModelNotFoundError, match="no model"):
        activate(store, tmp_path / "absent")
    assert store.versions.find("nobody@0") is None
    store.versions.remove("nobody@0")


def test_the_configuration_cannot_bypass_the_validator(models: dict[str, Path]) -> None:
    encoder = LazyEncoder(Config(engine=EngineConfig(text_model=str(models["int2"]))))
    with pytest.raises(ValidationError, match="was refused"):
        encoder.encode(["a text"])


def test_the_tables_are_what_the_schema_says(store: MemoryStore) -> None:
    from aios_db.schema import schema_migrations, validation_reports, weight_versions

    for module in (weight_versions, validation_reports, schema_migrations):
        assert lance.dataset(store.path / f"{module.TABLE}.lance").schema.equals(module.SCHEMA)
        assert store.dataset(module.TABLE).count_rows() == 0
    with pytest.raises(ProgrammingError, match="no table"):
        store.dataset("nothing")
