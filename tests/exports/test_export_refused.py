"""An export that is not whole, or holds what no memory can be, is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from export_helpers import open_store

import aios_db
from aios_db.exports import export, is_export, read_export
from aios_db.importers import import_files
from aios_db.store.tables import table_from


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    store = open_store(tmp_path / "a.aios")
    store.remember(table_from([{"text": text, "session_id": "s"} for text in ("tea", "coffee", "milk")]))
    export(store, tmp_path / "whole.jsonl")
    export(store, tmp_path / "whole")
    store.close()
    return tmp_path


@pytest.fixture
def here(tmp_path):
    store = open_store(tmp_path / "b.aios")
    yield store
    store.refresh()
    assert store.memories.count_rows() == 0
    store.close()


def test_a_file_that_ends_early(exported, here):
    path = exported / "whole.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(aios_db.OperationalError, match=f"{path} has 5 lines .* says 6: it is not whole"):
        read_export(here, path)


@pytest.mark.parametrize("name", ["memories.parquet", "association_links.parquet"])
def test_a_directory_with_a_damaged_file(exported, here, name):
    os.truncate(exported / "whole" / name, 100)
    with pytest.raises(aios_db.OperationalError, match=f"{name} cannot be read"):
        read_export(here, exported / "whole")
    (exported / "whole" / name).unlink()
    with pytest.raises(aios_db.OperationalError, match=f"{name} cannot be read"):
        read_export(here, exported / "whole")


BAD = {
    "tier": ("eternal", "tier is 'eternal'"),
    "importance": (2.0, "importance is 2"),
    "memory_id": ("../x", "no UUID"),
    "created_at": ("yesterday", "whole.jsonl:2: is no memory of an export"),
    "text_embedding": ([1.0], "whole.jsonl:2-4"),
    "media": ("no base64!", "whole.jsonl:2: is no memory"),
    "kind": (None, "kind is missing"),
    "colour": ("red", "no column 'colour'"),
    "access_count": (-1, "access_count is -1"),
    "text": ("", "nothing to remember"),
}


@pytest.mark.parametrize("column", BAD)
def test_values_that_no_memory_has(exported, here, column):
    value, message = BAD[column]
    path = exported / "whole.jsonl"
    first, second, *rest = path.read_text().splitlines()
    memory = json.loads(second)
    memory["memory"][column] = value
    path.write_text("\n".join([first, json.dumps(memory), *rest]) + "\n")
    with pytest.raises(aios_db.DataError, match=message):
        read_export(here, path)


def test_a_newer_export_and_foreign_files(exported, here):
    path = exported / "whole.jsonl"
    about, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(about.replace('"aios_export": 1', '"aios_export": 2') + "".join(rest))
    with pytest.raises(aios_db.SchemaVersionError, match="newer aios_db"):
        read_export(here, path)
    (exported / "notes.jsonl").write_text('{"text": "tea"}\n')
    (exported / "empty").mkdir()
    assert is_export(path)
    assert is_export(exported / "whole")
    assert not any(is_export(exported / each) for each in ("notes.jsonl", "empty", "no"))


def test_a_changed_content_gets_its_own_identity(tmp_path, exported):
    """The hash of a foreign file is not believed: an equal memory must be found again."""
    path = exported / "whole.jsonl"
    path.write_text(path.read_text().replace('"text": "tea"', '"text": "cocoa"'))
    store = open_store(tmp_path / "c.aios")
    read_export(store, path)
    store.remember(table_from([{"text": "cocoa", "session_id": "s"}]))
    assert store.memories.count_rows() == 3
    store.close()


def test_nothing_is_overwritten(exported):
    store = open_store(exported / "a.aios", read_only=True)
    for name in ("whole", "whole.jsonl"):
        with pytest.raises(aios_db.OperationalError, match="is there already"):
            export(store, exported / name)
    assert export(store, exported / "new.jsonl").memories == 3
    assert not list(exported.glob("*exporting*"))
    store.close()


def test_not_inside_a_transaction(tmp_path, exported):
    with aios_db.connect(tmp_path / "d.aios") as con:
        con.begin()
        with pytest.raises(aios_db.NotSupportedError):
            import_files(con, [exported / "whole.jsonl"])
        con.rollback()
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(0,)]


def test_vectors_of_another_length_are_made_anew(tmp_path, exported):
    store = open_store(exported / "a.aios")
    store.remember(pa.table({"text": ["cocoa"], "text_embedding": [[1.0, 0, 0, 0]]}))
    export(store, exported / "wide")
    store.close()
    other = open_store(tmp_path / "e.aios", dimension=6)
    assert read_export(other, exported / "wide").stored == 4
    vectors = other.memories.to_table()["text_embedding"]
    assert (vectors.type.list_size, vectors.null_count) == (6, 0)
    other.close()
