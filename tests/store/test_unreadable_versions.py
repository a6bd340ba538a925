"""One damaged manifest of an older version: what does not need it goes on, and says which it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_helpers import DIMENSION, memory_rows

from aios_db.disk.durable import manifest, versions
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import OperationalError
from aios_db.store.kept import KeptVersions

WORDS = ["alpha", "bravo", "charlie", "delta", "echo"]
DAMAGED = 4  # the first words are version 3
STORAGE = StorageConfig(dimension=DIMENSION, maintenance_delay_s=3600, keep_versions_s=0, durability="normal")
CONFIG = Config(storage=STORAGE)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "agent.aios"
    store = MemoryStore.open(path, config=CONFIG)
    for each in WORDS:
        store.remember(memory_rows([each]))
    store.close()
    return path


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def _erase(store: MemoryStore) -> Any:
    (last,) = (row["memory_id"] for row in store.memories.to_table().to_pylist() if row["text"] == "echo")
    return store.erase([last])


@pytest.mark.parametrize("damage", [_half, _flipped])
@pytest.mark.parametrize(
    ("call", "left"),
    [
        (lambda store: store.undo(5), WORDS[:4]),
        (lambda store: store.restore(6, None), WORDS[:4]),
        (lambda store: store.restore(3, None), WORDS[:1]),
        (lambda store: store.undo(2), None),
        (lambda store: store.optimize(), WORDS),
        (_erase, WORDS[:4]),
    ],
)
def test_what_does_not_need_it_goes_on(  # noqa: PLR0917
    written: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    call: Callable[[MemoryStore], Any], left: list[str] | None, damage: Callable[[bytes], bytes],
) -> None:  # fmt: skip
    path = shutil.copytree(written, tmp_path / "agent.aios")
    broken = path / "memories.lance" / manifest(DAMAGED)
    content = damage(broken.read_bytes())
    broken.write_bytes(content)
    store = MemoryStore.open(path, config=CONFIG)
    known = dict(zip(*store.history.versions().to_pydict().values(), strict=True))
    assert {*known, DAMAGED} == set(versions(path / "memories.lance"))
    assert f"version {DAMAGED} cannot be read" in caplog.text
    with pytest.raises(OperationalError, match=f"version {DAMAGED}, which cannot be read"):
        store.history.memories(None, round(known[3].timestamp() * 1e6))
    if left is None:
        with pytest.raises(OperationalError, match=f"version {DAMAGED} (of|cannot)"):
            call(store)
        left = WORDS
    else:
        call(store)
    assert sorted(store.memories.to_table(columns=["text"])["text"].to_pylist()) == left
    if not broken.exists():
        assert (path / "memories.lance" / "_torn" / broken.name).read_bytes() == content
        assert "manifests of versions 4 are damaged" in caplog.text
    store.close()


def test_a_disk_that_fails_sets_nothing_aside(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copytree(written, tmp_path / "agent.aios")
    store = MemoryStore.open(path, config=CONFIG)
    table = path / "memories.lance"
    (table / manifest(DAMAGED)).write_bytes(b"")
    before = versions(table)

    def fails(_: Path) -> bytes:
        raise OSError("Input/output error")

    with monkeypatch.context() as patched, pytest.raises(OperationalError):
        patched.setattr(Path, "read_bytes", fails)
        store.optimize()
    assert set(before) <= set(versions(table))
    store.close()


def test_versions_that_go_while_they_are_listed_are_not_called_unreadable(store, caplog):
    """Lance's listing fails where a manifest is cleaned up meanwhile; each that is there can be read."""
    store.remember(memory_rows(["tea"]))

    class Listed:
        uri, checkout_version = store.memories.uri, store.memories.checkout_version

        def versions(self):
            raise OSError("Not found: a manifest")

    kept = KeptVersions.of(Listed())
    assert kept.unreadable == () and max(kept.written) == store.memories.version
    assert not caplog.records
