"""Half a letter, as is left of bytes that were read by a wrong encoding, is an error wherever it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

import aios_db

pytestmark = pytest.mark.sql

HALF = "\ud800"


@pytest.mark.parametrize("name", [f"a{HALF}.aios", "b\udcff.aios", "c\0.aios"])
def test_a_path_that_is_no_text_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="is no path"):
        aios_db.connect(f"{tmp_path}/{name}")
    assert not list(tmp_path.iterdir())


def test_it_is_told_of_and_the_connection_goes_on(tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "agent.aios") as con:
        [ferry] = con.remember(["The ferry leaves at nine."])
        for call in (
            lambda: con.undo_consolidation(HALF),
            lambda: con.execute(f"SELECT '{HALF}'"),
            lambda: con.execute("SELECT ?", [HALF]),
            lambda: con.link(HALF, ferry),
            lambda: con.backup(tmp_path / HALF),
            lambda: con.export(tmp_path / f"{HALF}.jsonl"),
        ):
            with pytest.raises(aios_db.DatabaseError) as told:
                call()
            assert isinstance(told.value, aios_db.ProgrammingError | aios_db.DataError)
        assert [hit.memory_id for hit in con.recall("ferry")] == [ferry]
