"""Files that imported rows name are read where the rows come from, and nowhere else."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from joint_world import pairs, picture, tone

import aios_db
from aios_db.importers import import_path

World = Callable[..., aios_db.Connection]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that somebody else made, beside the importer's private files, which are what is at hand."""
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    theirs.mkdir()
    mine.mkdir()
    (theirs / "shown.png").write_bytes(picture("green", 3))
    (theirs / "heard.wav").write_bytes(tone("green", 3))
    (mine / "private.png").write_bytes(picture("red", 3))
    (mine / "private.wav").write_bytes(tone("red", 3))
    (theirs / "link.png").symlink_to(mine / "private.png")
    monkeypatch.chdir(mine)
    return theirs


def _write(folder: Path, kind: str) -> None:
    mine = folder.parent / "mine"
    rows = [
        {"external_id": "shown", "text": "inside", "image": "shown.png"},
        {"external_id": "heard", "text": "inside", "audio": "heard.wav"},
        {"external_id": "absolute", "text": "outside", "image": str(mine / "private.png")},
        {"external_id": "above", "text": "outside", "audio": "../mine/private.wav"},
        {"external_id": "uri", "text": "outside", "media_uri": (mine / "private.png").as_uri()},
        {"external_id": "sound uri", "text": "outside", "audio_uri": str(mine / "private.wav")},
        {"external_id": "link", "text": "outside", "image": "link.png"},
        {"external_id": "at hand", "text": "outside", "image": "private.png"},
    ]
    for row in rows:
        row["text"] += f" {row['external_id']}"
    if kind == "jsonl":
        lines = [json.dumps(row) for row in rows]
        (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        names = ["external_id", "text", "image", "audio", "media_uri", "audio_uri"]
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _joint(con: aios_db.Connection, sql: str, *given: object) -> list[float]:
    return con.execute(f"SELECT embed_joint({sql})", list(given)).fetchone()[0]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_rows_name_files_of_their_folder_only(world: World, folder: Path, kind: str) -> None:
    _write(folder, kind)
    with world() as con:
        con.fit_fusion(pairs())
        report = import_path(con, folder / f"rows.{kind}")
        assert (report.stored, report.rejected) == (8, 0)
        told = dict(report.per_file[0].warnings)
        why = "names a file outside of the imported folder, which is not read"
        assert told == {f"media_uri {why}": 3, f"audio_uri {why}": 2}
        found = {each.external_id: each for each in con.get(_ids(con)) if each is not None}
        np.testing.assert_allclose(
            found["shown"].joint_embedding,
            _joint(con, "'inside shown', image := ?", picture("green", 3)),
            atol=1e-5,
        )
        np.testing.assert_allclose(
            found["heard"].joint_embedding,
            _joint(con, "'inside heard', audio := ?", tone("green", 3)),
            atol=1e-5,
        )
        con.fit_fusion(pairs(), seed=1, name="again")  # with all rights of the owner
        for name, memory in {each.external_id: each for each in con.get(_ids(con))}.items():
            if memory.text.startswith("outside"):
                words = _joint(con, "?", memory.text)
                np.testing.assert_allclose(memory.joint_embedding, words, atol=1e-5, err_msg=name)
        kept = found["absolute"].metadata
        assert kept["media_uri"].endswith("private.png") and found["absolute"].media_uri is None
        assert found["at hand"].media_uri == "private.png"  # the name of a file that is not there


def test_a_connection_reads_imported_files_in_its_allowed_directories(world: World, folder: Path) -> None:
    _write(folder, "jsonl")
    with world() as con:
        con.fit_fusion(pairs())
    mine = folder.parent / "mine"
    with world(external_access=False, allowed_directories=[mine]) as con:
        report = import_path(con, folder)
        assert "media_uri names a file outside" not in str(dict(report.per_file[0].warnings))
        found = {each.external_id: each for each in con.get(_ids(con)) if each is not None}
        red = _joint(con, "'outside absolute', image := ?", picture("red", 3))
        np.testing.assert_allclose(found["absolute"].joint_embedding, red, atol=1e-5)
        words = _joint(con, "'inside shown'")  # the folder of the import is not allowed
        np.testing.assert_allclose(found["shown"].joint_embedding, words, atol=1e-5)


def _ids(con: aios_db.Connection) -> list[str]:
    return [row[0] for row in con.execute("SELECT memory_id FROM memories").fetchall()]
