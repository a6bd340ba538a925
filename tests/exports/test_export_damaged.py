"""Of a damaged export nothing is stored; what was changed keeps no vector of the text before."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from export_helpers import DIMENSION, SmallEncoder, open_store

import aios_db
from aios_db.exports import export, read_export
from aios_db.importers import import_files
from aios_db.store.tables import table_from

COUNT = 12


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    store = open_store(tmp_path / "a.aios")
    store.remember(table_from([{"text": f"tea number {n} é", "session_id": "s"} for n in range(COUNT)]))
    export(store, tmp_path / "whole.jsonl")
    export(store, tmp_path / "whole")
    store.close()
    return tmp_path


def refused(path: Path, directory: Path) -> None:
    """Check that nothing is stored of an export."""
    store = open_store(directory / "b.aios")
    with pytest.raises((aios_db.OperationalError, aios_db.DataError), match=path.name):
        read_export(store, path)
    store.refresh()
    assert (store.memories.count_rows(), store.links.count_rows()) == (0, 0)
    store.close()


def test_the_import_of_a_cut_export_stores_nothing(exported):
    path = exported / "whole.jsonl"
    os.truncate(path, path.stat().st_size - 50)
    with aios_db.connect(exported / "c.aios") as con:
        with pytest.raises(aios_db.DataError, match="is no link of an export"):
            import_files(con, [path])
        path.write_bytes(b"{" + path.read_bytes())  # no other format is guessed
        with pytest.raises(aios_db.OperationalError, match="does not say what the export holds"):
            import_files(con, [path])
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(0,)]


@pytest.mark.parametrize("gone", [2, 50, 180, 700, 2500, 6000])
def test_a_file_of_lines_that_is_cut_anywhere(exported, gone):
    """In the last link, in one before, in the memories."""
    path = exported / "whole.jsonl"
    os.truncate(path, path.stat().st_size - gone)
    refused(path, exported)


def _edit_last(lines: list[bytes], key: str, name: str, value: object) -> list[bytes]:
    at = max(number for number, line in enumerate(lines) if line.startswith(b'{"%s"' % key.encode()))
    row = json.loads(lines[at])
    row[key][name] = value
    return [*lines[:at], json.dumps(row).encode() + b"\n", *lines[at + 1 :]]


DAMAGES = {
    "a weight": lambda lines: _edit_last(lines, "link", "weight", 2.0),
    "an evidence": lambda lines: _edit_last(lines, "link", "evidence_count", 0),
    "no end": lambda lines: _edit_last(lines, "link", "source_id", None),
    "a time": lambda lines: _edit_last(lines, "link", "created_at", "yesterday"),
    "a column": lambda lines: _edit_last(lines, "link", "colour", "red"),
    "the last memory": lambda lines: _edit_last(lines, "memory", "tier", "eternal"),
    "a byte that is no UTF-8": lambda lines: [*lines[:2], lines[2].replace(b"tea", b"t\xffa"), *lines[3:]],
    "zeros at the end": lambda lines: [*lines[:-1], b"\0" * len(lines[-1])],
    "a link for a memory": lambda lines: [*lines[:COUNT], lines[-1], lines[COUNT], *lines[COUNT + 1 : -1]],
    "the first line": lambda lines: [lines[0].replace(b"{", b"[", 1), *lines[1:]],
    "the first key": lambda lines: [lines[0].replace(b"aios_export", b"aios_exp\0rt"), *lines[1:]],
    "a count": lambda lines: [lines[0].replace(b'"memories": 12', b'"memories": 11'), *lines[1:]],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_of_lines_that_is_damaged_anywhere(exported, damage):
    path = exported / "whole.jsonl"
    path.write_bytes(b"".join(DAMAGES[damage](path.read_bytes().splitlines(keepends=True))))
    refused(path, exported)


@pytest.mark.parametrize("name", ["memories.parquet", "association_links.parquet"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_directory_with_a_changed_byte(exported, name, share):
    path = exported / "whole" / name
    held = bytearray(path.read_bytes())
    held[int(len(held) * share)] ^= 0x55
    path.write_bytes(held)
    refused(exported / "whole", exported)


def test_a_parquet_file_that_was_written_anew_is_taken_in_when_told(exported):
    place = exported / "whole" / "memories.parquet"
    pq.write_table(pq.read_table(place), place, compression="none")
    refused(exported / "whole", exported)
    about = json.loads((exported / "whole" / "export.json").read_text())
    del about["sha256"]
    (exported / "whole" / "export.json").write_text(json.dumps(about))
    store = open_store(exported / "d.aios")
    assert read_export(store, exported / "whole").stored == COUNT
    store.close()


def test_a_directory_whose_description_is_damaged(exported):
    (exported / "whole" / "export.json").write_text("{")
    refused(exported / "whole", exported)


def _edited(path: Path, name: str, value: object) -> str:
    """Change the memory of number 0; return its id."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if '"tea number 0 é"' in line or '"tea"' in line)
    row = json.loads(lines[at])
    row["memory"][name] = value
    path.write_text("".join([*lines[:at], json.dumps(row) + "\n", *lines[at + 1 :]]), "utf-8")
    return str(row["memory"]["memory_id"])


def _vectors(store) -> dict[str, np.ndarray]:
    rows = store.memories.to_table(columns=["memory_id", "text_embedding"]).to_pylist()
    return {row["memory_id"]: np.array(row["text_embedding"], np.float32) for row in rows}


@pytest.mark.parametrize(
    ("column", "value", "embedded"),
    [("text", "cocoa", "cocoa"), ("title", "Drinks", "Drinks. tea number 0 é")],
)
def test_what_was_changed_is_embedded_anew_and_said(exported, caplog, column, value, embedded):
    path = exported / "whole.jsonl"
    before = open_store(exported / "a.aios", read_only=True)
    expected = _vectors(before)
    before.close()
    changed = _edited(path, column, value)
    expected[changed] = SmallEncoder(DIMENSION).encode([embedded])[0]
    store = open_store(exported / "b.aios")
    with caplog.at_level(logging.WARNING, "aios_db"):
        assert read_export(store, path).stored == COUNT
    found = _vectors(store)
    store.close()
    assert found.keys() == expected.keys()
    for name, vector in expected.items():
        np.testing.assert_allclose(found[name], vector, atol=1e-6)
    assert f"{path} was changed after it was exported" in caplog.text
    assert "changed after the export, and embedded anew: 1 memory" in caplog.text
    assert "cocoa" not in caplog.text  # a log quotes no memory


def test_a_damaged_vector_is_made_anew(exported, caplog):
    path = exported / "whole.jsonl"
    changed = _edited(path, "text_embedding", [0.5, 7.0, 0.0, 0.0])
    store = open_store(exported / "b.aios")
    read_export(store, path)
    wanted = SmallEncoder(DIMENSION).encode(["tea number 0 é"])[0]
    np.testing.assert_allclose(_vectors(store)[changed], wanted, atol=1e-6)
    store.close()
    assert "changed after the export, and embedded anew: 1 memory" in caplog.text


def test_a_changed_text_whose_vector_was_given_is_refused(tmp_path):
    store = open_store(tmp_path / "a.aios")
    store.remember(pa.table({"text": ["tea"], "text_embedding": [[1.0, 0, 0, 0]]}))
    export(store, tmp_path / "given.jsonl")
    store.close()
    path = tmp_path / "given.jsonl"
    whole = path.read_text()
    _edited(path, "text", "cocoa")
    other = open_store(tmp_path / "b.aios")
    with pytest.raises(aios_db.DataError, match="take text_embedding out"):
        read_export(other, path)
    assert other.memories.count_rows() == 0
    path.write_text(whole)
    assert read_export(other, path).stored == 1
    (vector,) = _vectors(other).values()
    assert vector.tolist() == [1, 0, 0, 0]
    other.close()


def test_an_untouched_export_is_taken_in_without_a_word(exported, caplog):
    for name in ("whole.jsonl", "whole"):
        store = open_store(exported / f"{name}.aios")
        with caplog.at_level(logging.WARNING, "aios_db"):
            assert read_export(store, exported / name).stored == COUNT
        store.close()
    assert caplog.text == ""
