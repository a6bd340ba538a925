"""Importing again: what changed replaces what it was, what is gone can go, and the rest is left alone."""

from __future__ import annotations

import json
import shutil

import pytest

import aios_db
from aios_db.importers import import_files, import_path
from aios_db.schema.config import Config, EngineConfig


@pytest.fixture
def con(tmp_path, minilm_dir):
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
        yield connection


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def texts(con):
    return [row[0] for row in con.execute("SELECT text FROM memories ORDER BY text").fetchall()]


def counts(report):
    assert report.read == (report.stored + report.merged + report.replaced + report.rejected + report.skipped)
    return report.stored, report.merged, report.replaced, report.removed


def test_a_changed_document_replaces_its_old_passages(con, folder):
    (folder / "guide.md").write_text("# A\nred\n# B\ngreen\n# C\nblue\n")
    assert counts(import_path(con, folder)) == (3, 0, 0, 0)
    before = dict(con.execute("SELECT text, memory_id FROM memories").fetchall())
    (folder / "guide.md").write_text("# New\nwhite\n# A\nred\n# B\nyellow\n")
    assert counts(import_path(con, folder)) == (1, 1, 1, 0)
    assert texts(con) == ["blue", "red", "white", "yellow"]
    after = dict(con.execute("SELECT text, memory_id FROM memories").fetchall())
    assert after["red"] == before["red"]
    assert after["yellow"] == before["green"], "it is the same memory with another text"
    version = con.store.stats().memory_version
    assert counts(import_path(con, folder)) == (0, 0, 0, 0)
    assert counts(import_path(con, folder, restart=True)) == (0, 3, 0, 0)
    assert con.store.stats().memory_version == version, "nothing was written"
    assert counts(import_path(con, folder, sync=True)) == (0, 3, 0, 1)
    assert texts(con) == ["red", "white", "yellow"]


def test_rows_are_known_by_their_id_or_their_place(con, folder):
    def write(*rows):
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    write({"id": 1, "text": "one"}, {"id": 2, "text": "two"}, {"text": "three"})
    import_path(con, folder)
    write({"id": 2, "text": "two"}, {"id": 1, "text": "one, mended"}, {"text": "three, mended"})
    assert counts(import_path(con, folder)) == (0, 1, 2, 0)
    assert texts(con) == ["one, mended", "three, mended", "two"]
    write({"id": 1, "text": "one, mended"}, {"id": 1, "text": "another of the same id"})
    assert counts(import_path(con, folder, sync=True)) == (1, 1, 0, 2)
    assert texts(con) == ["another of the same id", "one, mended"]


def test_a_longer_chat_adds_its_new_messages_only(con, folder):
    turns = [("Ann", "hi"), ("Bob", "yes"), ("Ann", "sure?"), ("Bob", "yes")]
    lines = [f"20/05/23, 22:1{n} - {who}: {text}\n" for n, (who, text) in enumerate(turns)]
    (folder / "chat.txt").write_text("".join(lines))
    assert counts(import_path(con, folder)) == (4, 0, 0, 0)
    (folder / "chat.txt").write_text("".join([*lines, "20/05/23, 22:20 - Ann: bye\n"]))
    assert counts(import_path(con, folder)) == (1, 4, 0, 0)
    assert texts(con) == ["bye", "hi", "sure?", "yes", "yes"]


def test_equal_rows_of_a_file_are_one_memory_and_equal_turns_are_not(con, folder):
    (folder / "a.csv").write_text("text\nsame\nsame\nother\n")
    assert counts(import_path(con, folder)) == (2, 1, 0, 0)
    (folder / "b.csv").write_text("speaker,text\nAnn,yes\nBob,sure?\nAnn,yes\n")
    assert counts(import_path(con, folder / "b.csv")) == (3, 0, 0, 0)
    assert counts(import_path(con, folder, restart=True)) == (0, 6, 0, 0)


def test_files_that_are_gone_go_with_sync_only(con, folder):
    for name in ("a.md", "b.md"):
        (folder / name).write_text(name)
    import_path(con, folder)
    (folder / "a.md").unlink()
    assert counts(import_path(con, folder)) == (0, 0, 0, 0)
    assert texts(con) == ["a.md", "b.md"]
    report = import_path(con, folder, sync=True)
    assert (report.removed, texts(con)) == (1, ["b.md"])


def test_sync_leaves_other_folders_and_unreadable_files_alone(con, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text("other")
    (folder / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    import_files(con, [folder, other])
    (folder / "a.jsonl").write_text('{"text": "one"}\n{"text": \n')
    report = import_path(con, folder, sync=True)
    assert (report.removed, report.rejected, texts(con)) == (0, 1, ["one", "other", "two"])


def test_equal_names_in_two_folders_are_two_sources(con, tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.md").write_text(f"text of {name}")
        import_path(con, tmp_path / name)
    sources = con.execute("SELECT text, source, session_id FROM memories ORDER BY text").fetchall()
    assert sources == [("text of x", "notes.md", "notes.md"), ("text of y", "y/notes.md", "y/notes.md")]
    assert counts(import_path(con, tmp_path / "y", restart=True)) == (0, 1, 0, 0)
    assert con.execute(
        "SELECT count(*) FROM association_links WHERE kind = 'next_in_session'"
    ).fetchone() == (0,)


def test_a_moved_folder_keeps_its_memories(con, folder, tmp_path):
    (folder / "a.md").write_text("a")
    (folder / "b.md").write_text("b")
    import_path(con, folder)
    shutil.move(folder, tmp_path / "moved")
    (tmp_path / "moved" / "b.md").write_text("b, mended")
    assert counts(import_path(con, tmp_path / "moved")) == (0, 0, 1, 0)
    assert texts(con) == ["a", "b, mended"]


def test_another_file_in_the_place_of_a_deleted_one_replaces_nothing(con, folder, tmp_path):
    (folder / "export.csv").write_text("text\nof May\n")
    import_path(con, folder / "export.csv")
    (folder / "export.csv").unlink()
    (tmp_path / "export.csv").write_text("text\nof June\n")
    import_path(con, tmp_path / "export.csv")
    assert texts(con) == ["of June", "of May"]


def test_each_scope_has_its_own(con, folder):
    (folder / "a.md").write_text("x")
    import_path(con, folder, defaults={"user_id": "ann"})
    assert counts(import_path(con, folder, defaults={"user_id": "bob"})) == (1, 0, 0, 0)
    (folder / "a.md").unlink()
    assert import_path(con, folder, defaults={"user_id": "bob"}, sync=True).removed == 1
    assert con.execute("SELECT user_id FROM memories").fetchall() == [("ann",)]


def test_the_mapping_is_part_of_what_was_imported(con, folder):
    (folder / "a.csv").write_text("text,other\nx,y\n")
    import_path(con, folder)
    assert counts(import_path(con, folder, mapping={"text": "other"})) == (0, 0, 1, 0)
    assert texts(con) == ["y"]


def test_what_was_imported_before_names_existed_gets_its_name(con, folder):
    con.remember([{"text": "x", "source": "a.jsonl"}])
    (folder / "a.jsonl").write_text('{"text": "x"}\n')
    assert counts(import_path(con, folder)) == (0, 1, 0, 0)
    assert texts(con) == ["x"]


def test_what_the_user_changed_in_the_database_stays(con, folder):
    (folder / "a.jsonl").write_text('{"text": "x"}\n')
    import_path(con, folder)
    (memory_id,) = con.execute("SELECT memory_id FROM memories").fetchone()
    con.update(memory_id, tier="long", importance=0.9)
    assert counts(import_path(con, folder, restart=True)) == (0, 1, 0, 0)
    assert con.execute("SELECT tier FROM memories").fetchall() == [("long",)]
