"""`aios migrate`'s runner: forward, refusing what it does not know, and whole after a kill at any step."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from filelock import FileLock

from aios_db.cli import main
from aios_db.memory_store import MemoryStore
from aios_db.migrations import database, registry
from aios_db.migrations.database import applied, migrate, pending
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.database import FORMAT_VERSION
from aios_db.schema.errors import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SchemaVersionError,
)
from aios_db.schema.memories import JOINT_FIELDS

NEW_TABLES = ("weight_versions", "validation_reports", "schema_migrations")
LATER_TABLES = ("quarantine_releases", "consolidation_log")
ENDS = ("verified", "recorded", "switched")
STEPS = [
    *(f"made table {table}" for table in NEW_TABLES), *ENDS,
    "added columns", "counted occurrences", "dated messages", *ENDS,
    "made table lora_cards", "made table sync_log", *ENDS,
    "made table quarantine_releases", *ENDS,
    "added columns", "made table consolidation_log", *ENDS, "added columns", *ENDS,
    "allowed short hashes", *ENDS,
]  # fmt: skip
NEW_COLUMNS = [
    "external_id", "times", "occurrences", "valid_until", "superseded_by", "expires_at", "pinned",
    "text_code",
    *(each.name for each in JOINT_FIELDS),
]  # fmt: skip
DAY = datetime(2024, 5, 1, tzinfo=timezone.utc)
CONFIG = Config(storage=StorageConfig(dimension=4))


def set_format(path: Path, version: Any) -> None:
    marker = json.loads((path / "aios.json").read_text())
    (path / "aios.json").write_text(json.dumps({**marker, "format_version": version}))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as format 1 had it, with memories in it."""
    path = tmp_path_factory.mktemp("format1") / "agent.aios"
    store = MemoryStore.open(path, config=CONFIG)
    vectors = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    rows = pa.table(
        {
            "text": [f"memory {n}" for n in range(20)],
            "text_embedding": list(vectors),
            "session_id": [None, "s"] * 10,
            "occurred_at": [None, None, DAY, DAY] * 5,
            "kind": ["message"] * 16 + ["document"] * 4,
        }
    )
    store.remember(rows)
    store.close()
    memories = lance.dataset(path / "memories.lance")
    hashes = memories.to_table(columns=["memory_id", "content_hash"]).to_pylist()
    cut = [{**row, "content_hash": row["content_hash"][:64]} for row in hashes]
    memories.merge_insert("memory_id").when_matched_update_all().execute(pa.Table.from_pylist(cut))
    memories.drop_columns(NEW_COLUMNS)
    shutil.rmtree(path / "index", ignore_errors=True)
    for table in (*NEW_TABLES, *LATER_TABLES):
        shutil.rmtree(path / f"{table}.lance")
    set_format(path, 1)
    return path


@pytest.fixture
def old(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "agent.aios")


def content(path: Path) -> dict[str, Any]:
    """Everything a database holds but the moments at which migrations ran."""
    tables: dict[str, Any] = {}
    for table in sorted(path.glob("*.lance")):
        dataset = lance.dataset(table)
        columns = [name for name in dataset.schema.names if name != "applied_at"]
        tables[table.stem] = dataset.schema, dataset.to_table(columns=columns).to_pylist()
    return {"marker": json.loads((path / "aios.json").read_text()), **tables}


def unchanged(row: dict[str, Any]) -> str:
    """What migrations leave of a memory as it is."""
    kept = {name: value for name, value in row.items() if name not in (*NEW_COLUMNS, "content_hash")}
    return json.dumps({**kept, "hash": row["content_hash"][:64]}, default=str)


def test_memories_of_an_old_database_are_known_again(old: Path) -> None:
    fresh = MemoryStore.open(old.parent / "fresh.aios", config=CONFIG)
    before = lance.dataset(old / "memories.lance").to_table().to_pylist()
    columns = ["text", "text_embedding", "session_id", "occurred_at", "kind"]
    rows = pa.Table.from_pylist([{name: row[name] for name in columns} for row in before])
    fresh.remember(rows)
    migrate(old)
    store = MemoryStore.open(old, config=CONFIG)
    assert store.remember(rows) == [row["memory_id"] for row in before]
    assert store.memories.schema == fresh.memories.schema
    told = ["text", "content_hash", *NEW_COLUMNS]
    told_by = [each.memories.to_table(columns=told).sort_by("text").to_pylist() for each in (store, fresh)]
    assert told_by[0] == told_by[1]
    store.close()
    fresh.close()


def test_a_new_database_needs_no_migration(tmp_path: Path) -> None:
    MemoryStore.open(tmp_path / "new", config=CONFIG).close()
    assert pending(tmp_path / "new") == applied(tmp_path / "new") == migrate(tmp_path / "new") == []


def test_an_old_database_is_refused_with_the_command_that_helps(old: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(OperationalError, match=rf"has format 1.*aios migrate {old}"):
            MemoryStore.open(old, config=CONFIG, read_only=read_only)


def test_migrate_brings_an_old_database_to_the_newest_format(old: Path) -> None:
    before = content(old)
    steps: list[str] = []
    migrating = partial(migrate, progress=lambda step, *_: steps.append(step))
    names = [
        "m0002_weight_versions", "m0003_identity", "m0004_federation", "m0005_quarantine", "m0006_lifecycle",
        "m0007_joint", "m0008_short_hashes",
    ]  # fmt: skip
    assert [each.name for each in pending(old)] == names
    assert not list(old.glob("schema_migrations*"))  # pending only reads
    assert [each.number for each in migrating(old)] == [
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    ]
    assert steps == STEPS
    assert [(each.number, each.name) for each in applied(old)] == [*enumerate(names, 2)]
    assert pending(old) == [] and migrate(old) == []
    after = content(old)
    assert sorted(map(unchanged, after["memories"][1])) == sorted(map(unchanged, before["memories"][1]))
    assert len(after["memories"][1]) == 20
    assert after["marker"]["format_version"] == FORMAT_VERSION == 8
    store = MemoryStore.open(old, config=CONFIG)
    assert store.stats().memories == 20
    store.close()


def test_the_newest_format_is_that_of_the_last_migration() -> None:
    numbers = [each.number for each in registry.migrations()]
    assert numbers == list(range(2, FORMAT_VERSION + 1))


def test_to_stops_early_and_never_goes_back(old: Path) -> None:
    assert pending(old, to=1) == [] and migrate(old, to=1) == []
    with pytest.raises(ProgrammingError, match="there is no format 9"):
        pending(old, to=9)
    migrate(old, to=2)
    with pytest.raises(ProgrammingError, match="only go forward, not to 1"):
        migrate(old, to=1)


def test_a_newer_database_is_refused_and_not_touched(old: Path) -> None:
    set_format(old, 99)
    before = sorted(old.rglob("*"))
    for call in (pending, migrate):
        with pytest.raises(SchemaVersionError, match="has format 99"):
            call(old)
    with pytest.raises(SchemaVersionError, match="has format 99"):
        MemoryStore.open(old, config=CONFIG)
    assert sorted(old.rglob("*")) == before


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"format_version": "two"}'])
def test_a_damaged_marker_is_refused(old: Path, marker: str) -> None:
    (old / "aios.json").write_text(marker)
    with pytest.raises(OperationalError, match=r"aios\.json"):
        migrate(old)


def test_a_directory_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="holds no aios_db database"):
        migrate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_is_waited_for(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 0.1)
    with FileLock(old / "write.lock"), pytest.raises(OperationalError, match="another process"):
        migrate(old)


def test_a_migration_that_loses_rows_is_stopped_before_the_switch(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(directory: Path) -> Any:
        lance.dataset(directory / "memories.lance").delete("text = 'memory 3'")
        yield "lost a row"

    monkeypatch.setattr(database, "migrations", lambda: [registry.Migration(2, "m0002_lossy", lose)])
    with pytest.raises(IntegrityError, match="19 of 20 rows of memories"):
        migrate(old)
    assert json.loads((old / "aios.json").read_text())["format_version"] == 1


def test_a_failing_disk_leaves_the_old_format(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(directory: Path) -> Any:
        yield "began"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "migrations", lambda: [registry.Migration(2, "m0002_full", fail)])
    with pytest.raises(OperationalError, match="No space left on device; free some space and try again"):
        migrate(old)
    assert [each.number for each in pending(old)] == [2]


def test_a_format_is_said_once_its_tables_are_on_the_disk(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: set[Path] = set()
    monkeypatch.setattr(database, "force_tree", forced.add)

    def progress(step: str, *_: object) -> None:
        if step == "recorded":
            forced.clear()
        if step == "switched":
            assert forced == set(old.glob("*.lance"))

    migrate(old, progress=progress)


@pytest.mark.parametrize("table", ["memories", "lora_cards"])
def test_what_a_loss_of_power_left_of_a_migration_is_done_again(
    old: Path, tmp_path: Path, table: str
) -> None:
    whole = shutil.copytree(old, tmp_path / "whole")
    migrate(whole)
    before, after = (3, 4) if table == "lora_cards" else (6, 7)
    migrate(old, to=after)
    set_format(old, before)
    newest = min((old / f"{table}.lance" / "_versions").glob("*.manifest"))
    newest.write_bytes(b"")
    if table == "memories":
        with pytest.raises(OperationalError, match="run it again"):
            migrate(old)
    assert main(["migrate", str(old)]) == 0
    assert content(old) == content(whole)


def test_registering_needs_a_number_of_its_own() -> None:
    def steps(directory: Path) -> Any:
        yield "done"

    registry.migrations()  # the numbers that are taken
    with pytest.raises(ValueError, match="four digits"):
        registry.migration(steps)
    steps.__module__ = "aios_db.migrations.m0002_another"
    with pytest.raises(ValueError, match="registered twice"):
        registry.migration(steps)


# Forked before anything was migrated, each child migrates one database and kills itself at a step of it.
_KILLED = """
import os, signal, sys
from aios_db.migrations.database import migrate

for number, path in enumerate(sys.argv[1:]):
    child = os.fork()
    if not child:
        steps = []
        def progress(step, *_):
            steps.append(step)
            if len(steps) > number:
                os.write(1, (step + chr(10)).encode())
                os.kill(os.getpid(), signal.SIGKILL)
        migrate(path, progress=progress)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (number, status)
"""


def test_killed_at_each_step_it_finishes_when_run_again(old: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(old, tmp_path / "whole")
    migrate(whole)
    expected = content(whole)
    paths = [shutil.copytree(old, tmp_path / f"killed {number}") for number in range(len(STEPS))]
    command = [sys.executable, "-c", _KILLED, *map(str, paths)]
    run = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=200
    )
    assert run.returncode == 0 and tuple(run.stdout.splitlines()) == tuple(STEPS), run.stderr
    for number, path in enumerate(paths):
        switched = STEPS[: number + 1].count("switched")  # until then the old format is still whole
        assert json.loads((path / "aios.json").read_text())["format_version"] == 1 + switched
        migrate(path)
        assert content(path) == expected
    assert len(paths) == 34
