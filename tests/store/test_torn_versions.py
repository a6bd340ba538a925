"""Tables whose newest version did not reach the disk whole."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import lance
import pytest
from store_helpers import DIMENSION, memory_rows, unit

from aios_db.checking import check
from aios_db.disk.durable import DurableTable, data_files, manifest, versions
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import OperationalError
from aios_db.security.scope import EVERYTHING, Scope
from aios_db.store.repair import RepairReport
from aios_db.store.upkeep import Upkeep

Open = Callable[..., MemoryStore]
WORDS = ["alpha", "bravo", "charlie", "delta"]  # nothing links them


@pytest.fixture
def config() -> Config:
    """What is forced to the disk before it is acknowledged, no loss of power leaves torn."""
    return Config(storage=StorageConfig(dimension=DIMENSION, durability="normal"))


def texts(store: MemoryStore) -> list[str]:
    found: list[str] = store.memories.to_table(columns=["text"])["text"].to_pylist()
    return sorted(found)


def written(open_store: Open, count: int = 3) -> Path:
    """Make a database with one commit per memory; return the directory of its memories."""
    store = open_store()
    for each in WORDS[:count]:
        store.remember(memory_rows([each]))
    store.close()
    return store.path / "memories.lance"


def truncate(path: Path, size: int = 0) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def newest_data(table: Path) -> Path:
    """The file that the newest version has and the one before lacks."""
    dataset = lance.dataset(table)
    before = {path for path, _ in data_files(lance.dataset(table, version=dataset.version - 1))}
    (new,) = {path for path, _ in data_files(dataset)} - before
    return table / new


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
@pytest.mark.parametrize("what", ["manifest", "data"])
def test_a_torn_newest_version_is_stepped_over(
    open_store: Open, caplog: pytest.LogCaptureFixture, what: str, share: float
) -> None:
    table = written(open_store)
    version = lance.dataset(table).version
    torn = table / manifest(version) if what == "manifest" else newest_data(table)
    truncate(torn, int(torn.stat().st_size * share))

    with caplog.at_level(logging.ERROR, "aios_db"):
        store = open_store()
    assert texts(store) == WORDS[:2]
    assert f"back at version {version - 1}, with 2 rows" in caplog.text
    assert store.memories.version == version - 1


@pytest.mark.parametrize("lose", [truncate, Path.unlink])
def test_the_index_of_a_version_that_is_gone_is_not_used_for_the_next_of_its_number(
    open_store: Open, lose: Callable[[Path], None]
) -> None:
    table = written(open_store)
    store = open_store()
    store.optimize()  # saves the index at this version
    store.remember(memory_rows(["lost soon"]))
    store.index.save()
    store.close()
    lose(table / manifest(lance.dataset(table).version))

    store = open_store()
    store.remember(memory_rows(["another"]))
    store.close()
    store = open_store()
    assert texts(store) == ["alpha", "another", "bravo", "charlie"]
    (hit,) = store.index.keyword_search("another", 1).row_ids.tolist()
    assert store.memories._take_rows([hit], columns=["text"])["text"].to_pylist() == ["another"]
    assert len(store.index.keyword_search("lost", 1).row_ids) == 0
    assert store.index.vector_search(unit("another"), 1).row_ids.tolist() == [hit]


def test_links_go_back_and_memories_stay(open_store: Open) -> None:
    store = open_store()
    a, b = store.remember(memory_rows(["first", "second"]))
    store.link(lance_links(a, b))
    store.close()
    links = store.path / "association_links.lance"
    truncate(links / manifest(lance.dataset(links).version))
    store = open_store()
    assert texts(store) == ["first", "second"]
    assert store.link(lance_links(a, b)) == 1


def _linked(open_store: Open) -> MemoryStore:
    """Write four memories of a session that are like each other, one a call; return the store, open."""
    store = open_store()
    for each in ("the lamp is red", "the lamp is red now", "the lamp is red again", "the lamp is"):
        store.remember(memory_rows([each], session_id="s"))
    store.flush()
    return store


@pytest.mark.parametrize("scope", [EVERYTHING, Scope("ada", None)])
@pytest.mark.parametrize("name", ["memories", "association_links"])
def test_a_table_that_goes_back_leaves_nothing_uneven(
    open_store: Open, caplog: pytest.LogCaptureFixture, name: str, scope: Scope
) -> None:
    store = _linked(open_store)
    before, table = _keys(store), store.path / f"{name}.lance"
    store.close()
    for version in versions(table)[:3]:
        truncate(table / manifest(version))
    with caplog.at_level(logging.WARNING, "aios_db"):
        open_store(scope=scope).close()
    assert "torn, as" in caplog.text and "brought level" in caplog.text
    report = check(store.path)
    assert report.whole, report.faults
    again = open_store()
    version = again.memories.version, again.links.version
    assert again.repair() == RepairReport(0, 0, 0, 0)
    assert version == (again.memories.version, again.links.version)
    left = {row["memory_id"] for row in _rows(again)}
    assert _keys(again) == {key for key in before if left.issuperset(key[:2])}


def _keys(store: MemoryStore) -> set[tuple[str, ...]]:
    found = store.links.to_table(columns=["source_id", "target_id", "kind"]).to_pylist()
    return {tuple(row.values()) for row in found}


def test_what_is_uneven_is_known_to_the_next_one_that_opens(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _linked(open_store)
    store.close()
    truncate(store.path / "memories.lance" / manifest(versions(store.path / "memories.lance")[0]))
    with monkeypatch.context() as patch:
        patch.setattr(Upkeep, "repair", _ended)
        with pytest.raises(KeyboardInterrupt):
            open_store()
    open_store().close()
    assert check(store.path).whole


def _ended(_: object) -> None:
    raise KeyboardInterrupt


def lance_links(source: str, target: str) -> object:
    import pyarrow as pa

    return pa.table({"source_id": [source], "target_id": [target]})


def test_read_only_says_what_to_do_and_changes_nothing(open_store: Open) -> None:
    table = written(open_store)
    torn = table / manifest(lance.dataset(table).version)
    truncate(torn)
    with pytest.raises(OperationalError, match=r"memories .* torn.*open it once without read_only"):
        open_store(read_only=True)
    assert torn.exists()


def test_without_any_whole_version_the_message_says_so_and_nothing_is_moved(open_store: Open) -> None:
    table = written(open_store)
    for path in (table / "_versions").glob("*.manifest"):
        truncate(path)
    with pytest.raises(OperationalError, match=r"nothing of \d versions is whole"):
        open_store()
    assert len(list((table / "_versions").glob("*.manifest"))) > 3


def test_an_empty_transaction_of_an_old_version_does_not_stop_maintenance(open_store: Open) -> None:
    table = written(open_store)
    for path in (table / "_transactions").iterdir():
        truncate(path)
    store = open_store()
    store.remember(memory_rows(["delta"]))
    store.optimize()
    assert texts(store) == WORDS


LIMITED = """
import resource, signal, sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from store_helpers import memory_rows, DIMENSION
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import OperationalError
from aios_db.memory_store import MemoryStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = MemoryStore.open(Path({path!r}), config=Config(storage=StorageConfig(dimension=DIMENSION)))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    store.remember(memory_rows(["the last bytes of this one fail"]))
    print("acknowledged")
except OperationalError as error:
    print("refused", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.close()
"""


@pytest.mark.parametrize("short", [1, 16, 100, 1000])
def test_a_write_whose_last_bytes_fail_is_refused(open_store: Open, short: int) -> None:
    table = written(open_store)
    size = newest_data(table).stat().st_size
    script = LIMITED.format(here=str(Path(__file__).parent), path=str(table.parent), limit=size + 20 - short)
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    expected = texts(open_store())
    if "acknowledged" in ran.stdout:  # the row's file was small enough after all
        assert expected == [*WORDS[:3], "the last bytes of this one fail"]
    else:
        assert "refused" in ran.stdout
        assert expected == WORDS[:3]
    store = open_store()
    store.remember(memory_rows(["delta"]))
    assert "delta" in texts(store)


def test_only_the_files_of_the_version_are_forced_however_many_are_older(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = written(open_store)
    dataset = lance.dataset(table)
    forced: list[Path] = []
    monkeypatch.setattr("aios_db.disk.durable.force_file", forced.append)
    durable = DurableTable(table)
    durable.force(dataset)
    own = {table / manifest(dataset.version), *(table / path for path, _ in data_files(dataset))}
    files = {path for path in forced if path.is_file() and path.parent.parent.name != "_indices"}
    assert files == own
    assert {table / "data", table / "_versions"} < set(forced)
    forced.clear()
    durable.force(dataset)
    assert set(forced) == {table / manifest(dataset.version), table / "_versions"}


def test_what_cannot_be_read_is_no_torn_version(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    table = written(open_store)
    names = sorted(each.name for each in (table / "_versions").iterdir())
    real = Path.open

    def too_many(path: Path, *arguments: object, **options: object) -> object:
        if path.suffix == ".lance":
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", too_many)
        with pytest.raises(OperationalError, match="Too many open files"):
            open_store()
    assert sorted(each.name for each in (table / "_versions").iterdir()) == names
    assert texts(open_store()) == WORDS[:3]


def test_a_table_that_was_removed_is_said_to_be_gone(open_store: Open) -> None:
    table = written(open_store)
    store = open_store()
    shutil.rmtree(table)
    with pytest.raises(OperationalError, match=r"memories\.lance is gone"):
        store.refresh()


def test_a_data_file_with_another_end_is_damage_and_no_torn_version(open_store: Open) -> None:
    table = written(open_store)
    version = lance.dataset(table).version
    damaged = newest_data(table)
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 0xFF
    damaged.write_bytes(content)
    with pytest.raises(OperationalError, match=rf"{damaged.name} is damaged.*aios restore"):
        open_store()
    assert (table / manifest(version)).exists()  # nothing was set aside
    content[-1] ^= 0xFF
    damaged.write_bytes(content)
    assert texts(open_store()) == sorted(WORDS[:3])


def test_an_old_file_that_is_gone_is_damage_and_costs_no_later_version(open_store: Open) -> None:
    table = written(open_store, 4)
    first = next(data_files(lance.dataset(table)))[0]
    newest_version = lance.dataset(table).version
    for version in range(1, newest_version):  # as if an hour lay between the first writes and the last
        made = (table / manifest(version)).stat().st_mtime
        os.utime(table / manifest(version), (made - 3600, made - 3600))
    (table / first).rename(table.parent / "away")
    with pytest.raises(OperationalError, match="too old for a loss of power"):
        open_store()
    (table.parent / "away").rename(table / first)
    assert texts(open_store()) == sorted(WORDS)


def test_nonsense_in_a_list_of_deleted_rows_is_an_error(open_store: Open) -> None:
    store = open_store()
    store.forget(store.remember(memory_rows(WORDS))[:1])
    store.close()
    table = store.path / "memories.lance"
    (deletions,) = (table / "_deletions").iterdir()
    whole = deletions.read_bytes()
    refused = 0
    for at in range(0, len(whole), 7):
        content = bytearray(whole)
        content[at] ^= 0xFF
        deletions.write_bytes(content)
        try:
            open_store(read_only=True).close()
        except OperationalError:
            refused += 1
    assert refused > 0  # and this process is alive


@pytest.mark.parametrize("lose", [truncate, Path.unlink])
def test_the_log_tells_what_a_loss_of_power_has_taken(open_store: Open, lose: Callable[[Path], None]) -> None:
    table = written(open_store)
    lose(table / manifest(lance.dataset(table).version))
    store = open_store()
    assert [(each.complete, each.added) for each in store.changes()] == [(True, 1), (True, 1), (False, None)]
    assert store.changes()[-1].memories_after == store.memories.version
    (bravo,) = (row["memory_id"] for row in _rows(store) if row["text"] == "bravo")
    store.remember(memory_rows(["delta", "echo"]))  # under the number of the version that was torn
    assert store.undo(3).change_id is None  # what it wrote is gone
    assert texts(store) == ["alpha", "bravo", "delta", "echo"]
    store.undo(2)
    assert not store.existing([bravo])[0]


def _rows(store: MemoryStore) -> list[dict[str, str]]:
    found: list[dict[str, str]] = store.memories.to_table(columns=["memory_id", "text"]).to_pylist()
    return found
