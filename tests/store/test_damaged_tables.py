"""A database whose memories are damaged does not open, and says which table and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import aios_db


def test_an_error_of_the_damaged_memories_names_them_and_the_remedy(tmp_path: Path) -> None:
    table = "memories"
    database = tmp_path / "agent.aios"
    with aios_db.connect(database) as con:
        first, second = con.remember(["one", "two"])
        con.link(first, second)
    for manifest in (database / f"{table}.lance" / "_versions").glob("*.manifest"):
        content = bytearray(manifest.read_bytes())
        content[len(content) // 4 : len(content) // 2] = b"\xff" * (len(content) // 2 - len(content) // 4)
        manifest.write_bytes(content)
    with pytest.raises(aios_db.OperationalError) as raised:
        aios_db.connect(database)
    for said in (f"{table}.lance", "aios restore"):
        assert said in str(raised.value)
