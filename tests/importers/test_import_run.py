from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import aios_db
from aios_db.importers import import_path, run
from aios_db.schema.config import Config, EngineConfig
from aios_db.schema.errors import OperationalError, ProgrammingError


@pytest.fixture
def con(tmp_path, minilm_dir):
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
        yield connection


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def count(con):
    return con.execute("SELECT count(*) FROM memories").fetchone()[0]


def lines(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def test_folder_with_good_bad_and_unknown(con, folder, tmp_path, caplog):
    lines(folder / "a.jsonl", ["one", "two"])
    with (folder / "a.jsonl").open("a") as file:
        file.write('{"text": 1}\n{"text": "three", "tier": "eternal"}\n')
    (folder / "b.md").write_text("# Ships\nA ship sails.")
    (folder / "c.json").write_text("{")
    (folder / "d.png").write_bytes(b"\x89PNG")
    (folder / "e.txt").write_bytes(b"\xff\x00\x01")
    seen = []
    report = import_path(con, folder, progress=lambda *step: seen.append(step))
    assert (report.files, report.read, report.stored, report.rejected) == (2, 7, 4, 3)
    assert report.skipped_files == {"d.png": "not a known format"}
    assert seen == [("a.jsonl", 4, 4), ("a.jsonl", 4, 4), ("b.md", 1, 2), ("b.md", 1, 1)]
    assert {row[0] for row in con.execute("SELECT text FROM memories").fetchall()} == {
        "one",
        "two",
        "three",
        "A ship sails.",
    }

    aside = tmp_path / "agent.aios.rejected.jsonl"
    assert report.rejected_path == str(aside)
    entries = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [(entry["file"], entry["place"]) for entry in entries] == [
        ("a.jsonl", "3"),
        ("c.json", "1"),
        ("e.txt", ""),
    ]
    assert entries[0]["record"] == {"text": 1}
    assert report.warnings == {"tier must be one of short, long, archived": 1}
    assert "a.jsonl:3: text must be a string" in caplog.text


def test_second_import_does_nothing_and_restart_adds_nothing(con, folder):
    lines(folder / "a.jsonl", ["one", "two"])
    import_path(con, folder)
    version = con.store.stats().memory_version
    again = import_path(con, folder / "a.jsonl")
    assert (again.files, again.imported, again.resumed) == (1, 0, 2)
    assert con.store.stats().memory_version == version
    assert import_path(con, folder, restart=True).imported == 2
    assert count(con) == 2


def test_defaults_fill_what_rows_lack_and_are_a_scope_of_their_own(con, folder):
    (folder / "a.jsonl").write_text('{"text": "x"}\n{"text": "y", "agent_id": "own"}\n')
    import_path(con, folder, defaults={"agent_id": "a1"})
    import_path(con, folder, defaults={"agent_id": "a2"})
    rows = con.execute("SELECT text, agent_id FROM memories ORDER BY ALL").fetchall()
    assert rows == [("x", "a1"), ("x", "a2"), ("y", "own")]


def test_interrupted_import_goes_on_after_the_last_batch(con, folder, monkeypatch):
    monkeypatch.setattr(run, "BATCH_ROWS", 4)
    texts = [f"text {number}" for number in range(18)]
    lines(folder / "a.jsonl", texts)
    remember, batches = con.store.remember, []

    def fail_on_third(rows, **options):
        batches.append(len(rows))
        if len(batches) == 3:
            raise OperationalError("no space left on device")
        return remember(rows, **options)

    monkeypatch.setattr(con.store, "remember", fail_on_third)
    with pytest.raises(OperationalError):
        import_path(con, folder)
    assert count(con) == 8
    report = import_path(con, folder)
    assert (report.resumed, report.imported) == (8, 10)
    assert batches == [4, 4, 4, 4, 4, 2]
    assert [row[0] for row in con.execute("SELECT text FROM memories ORDER BY memory_id").fetchall()] == texts


def test_torn_journal_line_imports_its_batch_again(con, folder, monkeypatch):
    monkeypatch.setattr(run, "BATCH_ROWS", 2)
    lines(folder / "a.jsonl", "abcdef")
    import_path(con, folder)
    (journal,) = (Path(con.store.path) / "imports").iterdir()
    kept = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(kept[:2]) + kept[2][:5])
    report = import_path(con, folder)
    assert (report.resumed, report.imported) == (4, 2)
    assert count(con) == 6
    assert import_path(con, folder).imported == 0


def test_related_memories_of_the_old_store_become_links(con, folder, monkeypatch):
    monkeypatch.setattr(run, "BATCH_ROWS", 2)
    table = pa.table(
        {
            "memory_id": ["m1", "m2", "m3"],
            "context": ["rain", "sun", "snow"],
            "intent": ["x"] * 3,
            "action": ["y"] * 3,
            "outcome": ["z"] * 3,
            "related_memories": [["m3", "m1", "gone"], [], ["m2", "m2"]],
        }
    )
    pq.write_table(table, folder / "experiences.parquet")
    report = import_path(con, folder)
    assert (report.imported, report.links) == (3, 2)
    stated = con.execute("""
        SELECT s.text[:4], t.text[:4], l.weight FROM association_links l
        JOIN memories s ON s.memory_id = source_id JOIN memories t ON t.memory_id = target_id
        WHERE l.kind = 'user' ORDER BY ALL""").fetchall()
    assert [tuple(map(str, row)) for row in stated] == [("rain", "snow", "0.5"), ("snow", "sun\n", "0.5")]


def test_refused_paths_and_formats(con, folder):
    (folder / "a.png").write_bytes(b"x")
    with pytest.raises(ProgrammingError, match=r"a\.png: not a known format \(locomo, slack, facebook"):
        import_path(con, folder / "a.png")
    with pytest.raises(ProgrammingError, match="no format 'xml'"):
        import_path(con, folder / "a.png", format="xml")
    with pytest.raises(OperationalError, match="no such file"):
        import_path(con, folder / "none")
    assert import_path(con, folder, rejected_path=folder / "bad.jsonl").skipped_files == {
        "a.png": "not a known format"
    }


def test_unreadable_in_the_middle_keeps_what_came_before(con, folder):
    table = pa.table({"text": [f"row {number}" for number in range(40)]})
    pq.write_table(table, folder / "a.parquet", row_group_size=20, compression="zstd", use_dictionary=False)
    data = bytearray((folder / "a.parquet").read_bytes())
    start = pq.ParquetFile(folder / "a.parquet").metadata.row_group(1).column(0).data_page_offset
    data[start : start + 60] = bytes(60)
    (folder / "a.parquet").write_bytes(data)
    report = import_path(con, folder)
    assert report.rejected == 1
    assert count(con) == report.imported


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_a_pipe_is_refused_and_links_in_a_circle_end(con, folder):
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(OperationalError, match="neither a file nor a folder"):
        import_path(con, folder / "pipe.txt")
    lines(folder / "a.jsonl", ["one", "two"])
    before = import_path(con, folder).imported
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere.txt").symlink_to(folder / "missing")
    report = import_path(con, folder, restart=True)
    assert report.imported == before == 2


def test_a_transcript_of_several_batches_keeps_its_repeated_turns(con, folder, monkeypatch):
    monkeypatch.setattr(run, "BATCH_ROWS", 4)
    said = ["yes", "no", "yes", "go on", "yes", "no", "yes"] * 2
    chat = [{"role": "user", "content": text} for text in said]
    (folder / "chat.json").write_text(json.dumps({"id": "c", "messages": chat}))
    remember, batches = con.store.remember, []

    def fail_on_third(rows, **options):
        batches.append(len(rows))
        if len(batches) == 3:
            raise OperationalError("no space left on device")
        return remember(rows, **options)

    monkeypatch.setattr(con.store, "remember", fail_on_third)
    with pytest.raises(OperationalError):
        import_path(con, folder)
    monkeypatch.undo()
    import_path(con, folder)
    stored = "SELECT list(text ORDER BY memory_id) FROM memories"
    assert con.execute(stored).fetchall() == [(said,)]
    import_path(con, folder, restart=True)
    assert con.execute(stored).fetchall() == [(said,)]
