"""Google Keep's notes, which Takeout writes twice."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aios_db
from aios_db.importers import Skipped, import_files, read_path


def note(path: Path, name: str, **fields: Any) -> None:
    about = {"color": "DEFAULT", "isTrashed": False, "isPinned": False, "isArchived": False, "title": ""}
    edited = {"userEditedTimestampUsec": 1720000000000000, **fields}
    (path / f"{name}.json").write_text(json.dumps({**about, **edited}))
    (path / f"{name}.html").write_text("<html><body><div class='content'>the same again</div></body></html>")


def test_a_note_is_one_memory_with_its_labels(tmp_path: Path) -> None:
    folder = tmp_path / "Takeout" / "Keep"
    folder.mkdir(parents=True)
    note(
        folder, "Flour", title="Rye", textContent="Buy rye flour", isPinned=True,
        createdTimestampUsec=1719824400000000, labels=[{"name": "food"}],
        annotations=[{"source": "WEBLINK", "url": "https://mill.example", "title": "A mill"}],
    )  # fmt: skip
    packed = [{"text": "tent", "isChecked": True}, {"text": "", "isChecked": False}, {"text": "rope"}]
    note(folder, "Trip", title="Pack", listContent=packed)
    note(folder, "Only a title", title="Call Bo")
    note(folder, "Gone", textContent="old", isTrashed=True)
    note(folder, "Blank", textContent=" ")
    note(folder, "Long", textContent="A line of a long note.\n" * 200)
    (folder / "page.html").write_text("<p>no note</p>")

    with aios_db.connect(tmp_path / "a.aios") as con:
        report = import_files(con, [tmp_path / "Takeout"])
        rows = con.execute(
            "SELECT text, title, occurred_at, metadata FROM memories"
            " WHERE kind = 'note' AND length(text) < 50"
        ).fetchall()
        longest = con.execute("SELECT max(length(text)) FROM memories").fetchone()
        again = import_files(con, [tmp_path / "Takeout"], restart=True)
    edited = datetime.fromtimestamp(1720000000, timezone.utc)
    made = datetime.fromtimestamp(1719824400, timezone.utc)
    flour = {"labels": ["food"], "links": ["https://mill.example"], "isPinned": True}
    found = {
        (text, title, time, json.dumps(json.loads(about) if about else None))
        for text, title, time, about in rows
    }
    assert found == {
        ("Buy rye flour", "Rye", made, json.dumps(flour)),
        ("[x] tent\n[ ] rope", "Pack", edited, "null"),
        ("Call Bo", None, edited, "null"),
    }
    assert longest is not None and longest[0] <= 1000
    assert report.read == report.stored + report.merged + report.skipped and report.rejected == 0
    assert report.skip_reasons == {"in the trash": 1, "empty": 1, "the same note as its JSON file": 6}
    assert (again.stored, again.replaced) == (0, 0)


def test_other_html_is_read_as_html(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"text": "rows"}')
    (tmp_path / "a.html").write_text("<p>words</p>")
    assert not [record for record in read_path(tmp_path) if isinstance(record, Skipped)]
