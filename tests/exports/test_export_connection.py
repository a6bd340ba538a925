"""Export and import through the public interface, with the real text model."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import aios_db
from aios_db.cli import main
from aios_db.importers import import_files

QUERY = "SELECT * EXCLUDE association_links FROM memories ORDER BY memory_id"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, minilm_dir):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))


@pytest.mark.parametrize("name", ["exported", "exported.jsonl"])
def test_another_database_answers_the_same(name):
    with aios_db.connect("a.aios") as con:
        con.remember(["Ada keeps the spare key under the blue pot.", "Bo likes tea."], session_id="s")
        before = con.recall("where is the key?")
        con.export(name)
        rows = con.execute(QUERY).fetchall()
    with aios_db.connect("b.aios") as con:
        report = import_files(con, [name])
        assert (report.stored, report.links) == (2, 1)
        assert con.execute(QUERY).fetchall() == rows
        found = con.recall("where is the key?")
        assert [(each.memory_id, each.text) for each in found] == [
            (each.memory_id, each.text) for each in before
        ]
        assert [each.vector_score for each in found] == pytest.approx([each.vector_score for each in before])
        con.remember("The key was lost.")
        assert con.execute("SELECT count(DISTINCT text_weight_version) FROM memories").fetchall() == [(1,)]


def test_texts_are_embedded_again_where_the_vectors_do_not_come(caplog):
    with aios_db.connect("a.aios") as con:
        con.remember("Ada keeps the spare key under the blue pot.")
        con.export("bare.jsonl", embeddings=False)
        con.export("whole.jsonl")
        rows = con.execute(QUERY).fetchall()
    assert "text_embedding" not in Path("bare.jsonl").read_text()
    Path("foreign.jsonl").write_text(Path("whole.jsonl").read_text().replace('"minilm@', '"other@'))
    for name in ("bare", "foreign"):
        with caplog.at_level(logging.WARNING), aios_db.connect(f"{name}.aios") as con:
            import_files(con, [f"{name}.jsonl"])
            assert con.execute(QUERY).fetchall() == rows
    assert [record.getMessage() for record in caplog.records if "other weights" in record.getMessage()] == [
        "made by other weights: 1 vector; the texts are embedded anew"
    ]


def test_the_shell_exports_and_imports(capsys):
    assert main(["remember", "Ada likes tea."]) == 0
    assert main(["remember", "Bo likes coffee."]) == 0
    capsys.readouterr()
    assert main(["export", "out.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memories"] == 2
    assert main(["import", "out.jsonl", "--db", "b.aios"]) == 0
    assert capsys.readouterr().out.startswith("read 2 records from 1 file: 2 stored")
    assert main(["import", "out.jsonl", "--db", "b.aios", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["merged"] == 2
    assert main(["export", "out.jsonl"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["export", "folder", "--no-embeddings", "--db", "b.aios"]) == 0
    assert "exported 2 memories" in capsys.readouterr().out
