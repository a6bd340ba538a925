"""What a user or a disk can do wrong: a clear error of the right class, and nothing half-written."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from store_helpers import DIMENSION, HashEncoder, counts, memory_rows

from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config
from aios_db.schema.errors import (
    DataError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SchemaVersionError,
)
from aios_db.schema.sources import check_source
from aios_db.store.selection import Selection

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
Open = Callable[..., MemoryStore]


def test_a_path_that_is_a_file_is_refused(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OperationalError, match=r"notes\.txt is a file"):
        open_store("notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_directory_of_something_else_is_left_alone(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"...")
    with pytest.raises(OperationalError, match=r"cat\.png.*not an aios_db database"):
        open_store("photos")
    assert [each.name for each in (tmp_path / "photos").iterdir()] == ["cat.png"]


def test_an_empty_directory_becomes_a_database(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert open_store("new").stats().memories == 0
    assert open_store("deep/er/still").stats().memories == 0


def test_a_disk_that_is_full_after_the_memories_are_gone_says_so(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = store.remember(memory_rows(["one boat", "two boats", "a kiln"]))
    store.link(pa.table({"source_id": ids[:1], "target_id": ids[1:2]}))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("aios_db.store.relinking.Relinking.unlink_gone", full)
        with pytest.raises(
            OperationalError, match=r"No space left.*the memories are written, so do not repeat"
        ):
            store.forget([ids[0]])
    assert len(store.index) == 2
    store.remember(memory_rows(["another"]))
    assert store.repair().dangling_links == 0 and store.links.count_rows("kind = 'user'") == 0


def test_read_only_makes_nothing(open_store: Open, tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="no aios_db database"):
        open_store("absent", read_only=True)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"format_version": "two"}', '{"dimension": 16}'])
def test_a_marker_that_is_not_ours_is_refused(open_store: Open, tmp_path: Path, marker: str) -> None:
    open_store().close()
    for name in ("aios.json", "aios.json.bak"):
        (tmp_path / "agent.aios" / name).write_text(marker)
    with pytest.raises(OperationalError, match=r"aios\.json.*aios repair --db"):
        open_store()


def test_a_newer_format_is_refused_by_name(open_store: Open, tmp_path: Path) -> None:
    open_store().close()
    path = tmp_path / "agent.aios" / "aios.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 999}))
    with pytest.raises(SchemaVersionError, match="999"):
        open_store()


def test_a_creation_that_was_interrupted_is_finished(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    ids = store.remember(memory_rows(["kept"]))
    store.close()
    for name in ("aios.json", "aios.json.bak"):  # they are written last
        (tmp_path / "agent.aios" / name).unlink()
    again = open_store()
    assert again.memories.to_table(columns=["memory_id"])["memory_id"].to_pylist() == ids


def test_a_missing_table_is_an_error_and_not_an_empty_database(open_store: Open, tmp_path: Path) -> None:
    open_store().close()
    (tmp_path / "agent.aios" / "memories.lance").rename(tmp_path / "elsewhere")
    with pytest.raises(OperationalError, match="opening"):
        open_store()


def test_another_models_vectors_are_refused(open_store: Open) -> None:
    open_store().close()

    class Wider(HashEncoder):
        dimension = DIMENSION + 1

    with pytest.raises(ProgrammingError, match=rf"vectors of {DIMENSION} numbers.*{DIMENSION + 1}"):
        open_store(encoder=Wider())


@pytest.mark.parametrize("vectors", [[[1.0]], [[float("nan")] * DIMENSION]])
def test_an_encoder_that_misbehaves_stores_nothing(open_store: Open, vectors: list[list[float]]) -> None:
    encoder = HashEncoder()
    encoder.encode = lambda texts: vectors  # type: ignore[method-assign, assignment, return-value]
    store = open_store(encoder=encoder)
    with pytest.raises(InternalError, match="hash@000000000000"):
        store.remember(pa.table({"text": ["a"]}))
    assert store.memories.count_rows() == 0


def test_after_close_everything_says_so(open_store: Open) -> None:
    store = open_store()
    store.close()
    store.close()
    for call in (
        store.refresh,
        store.stats,
        store.optimize,
        lambda: store.remember(memory_rows(["a"])),
        lambda: store.touch(["a"]),
        lambda: store.dataset("memories"),
    ):
        with pytest.raises(InterfaceError, match="is closed"):
            call()


def test_there_are_two_tables(store: MemoryStore) -> None:
    assert store.dataset("memories") is store.memories
    assert store.dataset("association_links") is store.links
    with pytest.raises(ProgrammingError, match="'other'"):
        store.dataset("other")


def test_a_writer_waits_only_so_long(open_store: Open, tmp_path: Path, config: Config) -> None:
    impatient = replace(config, storage=replace(config.storage, lock_timeout_s=0.1))
    store = open_store(config=impatient)
    with (
        WriteLock(tmp_path / "agent.aios" / "write.lock", 1).hold(),
        pytest.raises(OperationalError, match="another process has held"),
    ):
        store.remember(memory_rows(["a"]))
    assert len(store.remember(memory_rows(["a"]))) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_read_only_directory_can_be_read(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    ids = store.remember(memory_rows(["a", "b"], session_id="s"))
    store.close()
    path = tmp_path / "agent.aios"
    modes = {each: each.stat().st_mode for each in (path, *path.rglob("*"))}
    before = sorted(map(str, path.rglob("*")))
    for each, mode in modes.items():
        each.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        run_unprivileged(
            path,
            f"""
            store = MemoryStore.open(path, read_only=True, config=config)
            assert store.memories.count_rows() == 2
            assert (store.index.find_ids({ids!r}) >= 0).all()
            store.touch({ids!r})
            store.close()
            store = MemoryStore.open(path, config=config)
            try:
                store.remember(memory_rows(["c"]))
            except OperationalError as error:
                assert "read_only=True" in str(error), error
            else:
                raise AssertionError("written to a read-only directory")
            store.close()
            """,
        )
        assert sorted(map(str, path.rglob("*"))) == before
    finally:
        for each, mode in modes.items():
            each.chmod(mode)


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_fails_the_write_and_nothing_else(open_store: Open, tmp_path: Path) -> None:
    """A limit on the size of files makes the kernel refuse writes, as a full disk does."""
    open_store().close()
    path = tmp_path / "agent.aios"
    out = run_unprivileged(
        path,
        """
        import random, resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = MemoryStore.open(path, config=config)
        (first,) = store.remember(memory_rows(["before"]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        big = random.Random(2).randbytes(3_000_000).hex()
        try:
            store.remember(memory_rows([big]))
        except OperationalError as error:
            print("refused", error)
        else:
            raise AssertionError("written though the disk was full")
        store.refresh()
        assert store.memories.count_rows() == 1
        (second,) = store.remember(memory_rows(["small ones still fit"]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (third,) = store.remember(memory_rows([big]))
        assert store.memories.count_rows() == 3
        assert store.repair().dangling_links == 0
        store.close()
        print("alive")
        """,
    )
    assert "refused writing memories" in out
    assert out.rstrip().endswith("alive")
    assert open_store().memories.count_rows() == 3


def run_unprivileged(path: Path, body: str) -> str:
    """Run a script in a process that the file permissions hold for, root or not."""
    script = (
        "import sys\nfrom store_helpers import memory_rows\n"
        "from aios_db.schema.config import Config, StorageConfig\n"
        "from aios_db.schema.errors import OperationalError\nfrom aios_db.memory_store import MemoryStore\n"
        f"path = {str(path)!r}\nconfig = Config(storage=StorageConfig(dimension={DIMENSION}))\n"
    ) + textwrap.dedent(body)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_failed_link_write_keeps_the_memory_and_says_so(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError("No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr("aios_db.store.relinking.link_new", broken)
        store.remember(memory_rows(["a", "a again"], session_id="s"))
        assert store.memories.count_rows() == 2
        assert "stored without their links" in caplog.text
        assert "aios repair" in caplog.text
        assert store.broken_off() and sum(store.database.change_log.unlinked.values()) == 2
        patch.setattr("aios_db.store.finishing.links_of_new", broken)
        store.remember(memory_rows(["b"]))  # neither these nor its own are written
        assert store.links.count_rows() == 0
        assert store.broken_off() and sum(store.database.change_log.unlinked.values()) == 3
    store.repair()
    assert store.links.count_rows() > 0 and not store.broken_off()


def test_the_next_write_makes_the_links_that_could_not_be_written(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr("aios_db.store.relinking.link_new", broken)
        (first, second) = store.remember(memory_rows(["a", "a again"], session_id="s"))
        store.update(memory_rows(["a lamp"]).append_column("memory_id", [[second]]))
    store.link(pa.table({"source_id": [first], "target_id": [second]}))
    found = store.links.to_table().to_pylist()
    assert ("next_in_session", first, second) in [
        (each["kind"], each["source_id"], each["target_id"]) for each in found
    ]
    assert not store.broken_off() and not store.database.change_log.unlinked


def test_pending_work_survives_a_failed_write(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = store.remember(memory_rows(["a", "b"]))
    store.touch([a, b])
    store.link(pa.table({"source_id": [a], "target_id": [b]}))

    def broken(*_: object) -> None:
        raise OSError("Input/output error")

    for place in ("recalls.FramedLog.append", "deferring.write_pairs", "deferring.write_column"):
        with monkeypatch.context() as patch:
            patch.setattr(f"aios_db.store.{place}", broken)
            with pytest.raises(OperationalError, match="Input/output error"):
                store.optimize()
    store.optimize()
    assert counts(store) == {a: 1, b: 1}
    (row,) = store.links.to_table(filter="kind = 'user'").to_pylist()
    assert row["evidence_count"] == 2
    assert store.repair().link_columns == 0


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(28, "No space left on device"), "free some space"),
        (RuntimeError("LanceError(IO): No space left on device (os error 28)"), "free some space"),
        (OSError("6097 requested and 1984 written"), "free some space"),
        (PermissionError(13, "Permission denied"), "read_only=True"),
        (pa.ArrowInvalid("torn page"), "what was committed before is still there"),
    ],
)
def test_failures_say_what_to_do(error: Exception, advice: str) -> None:
    with (
        pytest.raises(OperationalError, match=rf"^reading the shelf failed: .*{advice}"),
        operational("reading the shelf"),
    ):
        raise error


@pytest.mark.parametrize(
    "text", ["'); DELETE FROM memories; --", "a\"b'c`d", "\x00nul\x00", "🙂", "x" * 1_000_000]
)
def test_strange_text_comes_back_and_is_found_again(store: MemoryStore, text: str) -> None:
    (first,) = store.remember(memory_rows([text], session_id=text[:100], title=text[:100]))
    (row,) = store.memories.to_table(columns=["text", "session_id"]).to_pylist()
    assert row == {"text": text, "session_id": text[:100]}
    assert store.remember(memory_rows([text], session_id=text[:100], title=text[:100])) == [first]
    assert store.forget([text, first]) == 1


def test_the_tables_open_in_lancedb(store: MemoryStore, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    store.remember(memory_rows(["a", "b"]))
    database = lancedb.connect(tmp_path / "agent.aios")
    assert database.open_table("memories").count_rows() == 2
    assert database.open_table("association_links").count_rows() == store.links.count_rows()


def test_the_key_is_declared(store: MemoryStore) -> None:
    key = store.memories.lance_schema.fields()[0]
    assert "unenforced_primary_key_position: Some" in repr(key)
    assert isinstance(store.memories, lance.LanceDataset)


def test_media_and_lineage_are_stored(store: MemoryStore) -> None:
    (source,) = store.remember(memory_rows(["a"]))
    rows = pa.table({"media": [b"\x89PNG"], "media_type": ["image/png"], "derived_from": [[source]]})
    (picture,) = store.remember(rows)
    found = store.memories.to_table(filter=f"memory_id = '{picture}'").to_pylist()[0]
    assert (found["media"], found["modalities"], found["derived_from"]) == (b"\x89PNG", ["image"], [source])
    assert found["text_embedding"] is None


def test_half_a_letter_is_said_to_be_no_text(open_store: Open) -> None:
    store = open_store()
    store.remember(memory_rows(["kept"]))
    half = Selection(user_id=["\ud800"])
    for call in (store.forget, store.erase):
        with pytest.raises(DataError, match="no Unicode"):
            call(half)
    with pytest.raises(ProgrammingError, match="names where writes come from"):
        check_source("web:\udc80", "connect")
    assert store.stats().memories == 1
