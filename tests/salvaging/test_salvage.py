"""Whatever file of a database is damaged, a salvage ends in order and gives every row that is elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import lance
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from salvage_helpers import DAMAGES, connect, copy, damage, make, texts_of

import aios_db
from aios_db.cli.app import cli
from aios_db.disk.durable import manifest
from aios_db.importers import import_files
from aios_db.memory_store import MemoryStore


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("whole") / "agent.aios"
    return path, make(path)


def _texts_in(table: Path, file: Path) -> set[str]:
    """Return the texts that lie in a data file."""
    if table.name != "memories.lance" or file.parent.name != "data":
        return set()
    return set(
        lance.file.LanceFileReader(str(file), columns=["text"]).read_all().to_table()["text"].to_pylist()
    )


def _files(database: Path) -> Iterator[Path]:
    """Yield what is damaged: each file of both tables, all manifests of one, and the rest as a whole."""
    for table in ("memories.lance", "association_links.lance"):
        yield from sorted(each for each in (database / table).rglob("*") if each.is_file())
        yield database / table / "_versions"
    yield database / "aios.json"
    yield database / "index"
    yield database / "weight_versions.lance"


def test_a_salvage_of_a_whole_database_is_its_export(whole: tuple[Path, list[str]], tmp_path: Path) -> None:
    database, texts = whole
    report = aios_db.salvage(database, tmp_path / "out")
    with connect(copy(database, tmp_path / "same.aios")) as con:
        con.export(tmp_path / "export")
    assert report.complete
    assert (report.memories, report.losses, report.dangling_links) == (len(texts), (), 0)
    assert texts_of(tmp_path / "out") == texts
    for name, key in (
        ("memories.parquet", ["memory_id"]),
        ("association_links.parquet", ["source_id", "target_id", "kind"]),
    ):
        one, other = (
            pq.read_table(tmp_path / each / name).sort_by([(column, "ascending") for column in key])
            for each in ("out", "export")
        )
        assert one.equals(other.select(one.column_names))  # who was let out of quarantine is in another table


@pytest.mark.parametrize("how", DAMAGES)
def test_every_row_that_is_not_in_the_damaged_file_is_salvaged(
    whole: tuple[Path, list[str]], tmp_path: Path, how: str
) -> None:
    database, texts = whole
    for number, file in enumerate(_files(database)):
        name = file.relative_to(database)
        elsewhere = set(texts) - _texts_in(database / name.parts[0], file)
        broken = copy(database, tmp_path / "broken.aios")
        damage(broken / name, how)
        before = {each: each.read_bytes() for each in broken.rglob("*") if each.is_file()}
        out = tmp_path / f"out {number}"
        report = aios_db.salvage(broken, out)
        found = texts_of(out)
        assert elsewhere <= set(found), (name, report.losses)
        assert len(found) == len(set(found)) == report.memories
        assert {each: each.read_bytes() for each in broken.rglob("*") if each.is_file()} == before
        if not set(texts) <= set(found):
            assert not report.complete, name
        assert json.loads((out / "salvage.json").read_text())["complete"] == report.complete


@pytest.mark.parametrize("how", ["missing", "flipped middle"])
@pytest.mark.parametrize("part", ["data", "_deletions", "_versions"])
def test_an_import_of_a_salvage_has_its_rows(
    whole: tuple[Path, list[str]], tmp_path: Path, how: str, part: str
) -> None:
    database, _ = whole
    broken = copy(database, tmp_path / "broken.aios")
    newest = sorted((broken / "memories.lance" / part).iterdir())[0]
    damage(newest, how)
    aios_db.salvage(broken, tmp_path / "out")
    with connect(tmp_path / "mended.aios") as con:
        done = import_files(con, [str(tmp_path / "out")])
        found = [text for (text,) in con.execute("SELECT text FROM memories ORDER BY text").fetchall()]
    assert found == texts_of(tmp_path / "out")
    assert done.stored == len(found)


def test_a_text_whose_vector_is_lost_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    texts = make(path)
    for file in (path / "memories.lance" / "data").iterdir():
        reader = lance.file.LanceFileReader(str(file))
        at = reader.metadata().schema.get_field_index("text_embedding")
        content = bytearray(file.read_bytes())
        for page in reader.metadata().columns[at].pages:
            for buffer in page.buffers:
                content[buffer.position : buffer.position + buffer.size] = b"\xff" * buffer.size
        file.write_bytes(content)
    report = aios_db.salvage(path, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "memories.parquet")
    assert texts_of(tmp_path / "out") == texts
    assert rows["text_embedding"].null_count == len(texts)
    assert {each.columns for each in report.losses} == {("text_embedding",)}
    assert sum(each.rows or 0 for each in report.losses) == len(texts)


def test_a_changed_text_is_kept_and_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    texts = make(path)
    for file in (path / "memories.lance" / "data").iterdir():
        file.write_bytes(file.read_bytes().replace(b"first 5", b"first 9"))
    report = aios_db.salvage(path, tmp_path / "out")
    assert texts_of(tmp_path / "out") == sorted({*texts, "first 9"} - {"first 5"})
    ((rows, why),) = [(each.rows, each.why) for each in report.losses]
    assert rows == 1
    assert "content_hash" in why
    assert "its vector, which was given" in why
    vectors = pq.read_table(tmp_path / "out" / "memories.parquet")["text_embedding"]
    assert vectors.null_count == 0


def test_the_vector_of_a_changed_text_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "agent.aios"
    make(path)
    memories = lance.dataset(path / "memories.lance")
    memories.update({"text_weight_version": "'minilm@000000000000'"})
    memories.update({"text": "'another'"}, "text = 'first 5'")
    report = aios_db.salvage(path, tmp_path / "out")
    (loss,) = report.losses
    assert "its vector is made anew when it is imported" in loss.why
    rows = pq.read_table(tmp_path / "out" / "memories.parquet").to_pylist()
    without = [each["text"] for each in rows if each["text_embedding"] is None]
    assert without == ["another"]
    assert [each["text_weight_version"] for each in rows if each["text"] == "another"] == [None]


@pytest.mark.parametrize("hint", [True, False])
def test_a_lost_newest_manifest_is_named_with_what_may_be_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, hint: bool
) -> None:
    path = tmp_path / "agent.aios"
    texts = make(path)
    table = path / "memories.lance"
    versions = table / "_versions"
    kept = lance.dataset(table).versions()
    counts = {each["version"]: lance.dataset(table, version=each["version"]).count_rows() for each in kept}
    for version in [each for each in counts if each > max(counts, key=lambda one: counts[one])]:
        (table / manifest(version)).unlink()  # that of forgetting a memory is among them
    if not hint:
        (versions / "latest_version_hint.json").unlink()
    report = aios_db.salvage(path, tmp_path / "out")
    assert not report.complete
    assert any("forgotten after it may be as before" in each.why for each in report.losses)
    assert {*texts_of(tmp_path / "out")} > {*texts}
    with pytest.raises(aios_db.OperationalError, match=r"its manifest is gone since.*aios salvage"):
        connect(path)
    with caplog.at_level(logging.ERROR, "aios_db"):
        store = MemoryStore.open(path, read_only=True)
    assert store.memories.count_rows() > len(texts)
    assert "memories is gone" in caplog.text
    store.close()


def test_the_command_says_what_is_missing_by_its_exit_status(
    whole: tuple[Path, list[str]], tmp_path: Path
) -> None:
    database, texts = whole
    run = CliRunner().invoke(cli, ["salvage", str(database), str(tmp_path / "out"), "--json"])
    assert (run.exit_code, json.loads(run.stdout)["memories"]) == (0, len(texts))
    broken = copy(database, tmp_path / "broken.aios")
    damage(sorted((broken / "memories.lance" / "_versions").glob("*.manifest"))[0], "empty")
    run = CliRunner().invoke(cli, ["salvage", str(broken), str(tmp_path / "again")])
    assert run.exit_code == 3
    assert "missing: memories.lance/_versions/" in run.stdout
    damage(broken / "memories.lance" / "data", "empty")
    with pytest.raises(aios_db.OperationalError, match="nothing could be read"):
        aios_db.salvage(broken, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_is_no_database_and_what_would_be_overwritten_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(aios_db.OperationalError, match="holds no aios_db database"):
        aios_db.salvage(tmp_path / "empty", tmp_path / "out")
    make(tmp_path / "agent.aios")
    with pytest.raises(aios_db.OperationalError, match="is there already"):
        aios_db.salvage(tmp_path / "agent.aios", tmp_path / "empty")
    with pytest.raises(aios_db.OperationalError, match="outside of it"):
        aios_db.salvage(tmp_path / "agent.aios", tmp_path / "agent.aios" / "out")
