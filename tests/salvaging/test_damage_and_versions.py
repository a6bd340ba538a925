"""A damaged file costs no version but the torn ones at the end, and those only where they were not forced."""

from __future__ import annotations

import sys
from pathlib import Path

import lance
import pytest

import aios_db
from aios_db.disk.durable import FORCED, data_files, forced_version, manifest, versions

sys.path.insert(0, str(Path(__file__).parent))
from salvage_helpers import DAMAGES, connect, copy, damage, make, texts_of

MEMORIES, LINKS = "memories.lance", "association_links.lance"


@pytest.fixture(scope="module", params=["full", "normal"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("made") / "agent.aios"
    return path, make(path, durability=request.param)


def _first_named(table: Path) -> dict[Path, int]:
    """Return the version that wrote each file."""
    found: dict[Path, int] = {}
    for version in reversed(versions(table)):
        found.setdefault(Path(manifest(version)), version)
        for path, _ in data_files(lance.dataset(table, version=version)):
            found.setdefault(Path(path), version)
    return found


def _texts_in(table: Path, name: Path) -> set[str]:
    if name.parts[0] != "data" or table.name != MEMORIES:
        return set()
    rows = lance.file.LanceFileReader(str(table / name), columns=["text"]).read_all().to_table()
    return set(rows["text"].to_pylist())


def _state(database: Path) -> dict[Path, bytes]:
    tables = (database / MEMORIES, database / LINKS)
    return {each: each.read_bytes() for table in tables for each in table.rglob("*") if each.is_file()}


def _chosen(table: Path) -> dict[Path, int]:
    """Return the oldest and the two newest files of rows, and manifests, with the version of each."""
    names = sorted(_first_named(table).items(), key=lambda each: each[1])
    found: dict[Path, int] = {}
    for folder in ("data", "_versions"):
        files = [each for each in names if each[0].parts[0] == folder]
        found |= dict([files[0], files[-2], files[-1]])
    return found


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("table", [MEMORIES, LINKS])
def test_what_is_in_no_damaged_file_stays(
    made: tuple[Path, list[str]], tmp_path: Path, table: str, how: str
) -> None:
    original, texts = made
    newest, forced = max(versions(original / table)), forced_version(original / table)
    for number, (name, wrote) in enumerate(_chosen(original / table).items()):
        broken = copy(original, tmp_path / "broken.aios")
        damage(broken / table / name, how)
        before, files = versions(broken / table), _state(broken)
        opened = True
        try:
            with connect(broken, maintenance_delay_s=3600) as con:
                opened = not con.store.read_only
        except aios_db.OperationalError as error:
            opened = False
            assert "aios salvage" in str(error), name
            assert _state(broken) == files, name
        gone = set(before) - set(versions(broken / table))
        assert gone <= {wrote}, (name, gone)
        if forced or wrote != newest:
            assert not gone or (how, name.parts[0]) == ("empty", "_versions"), name
            assert wrote != newest or not gone, name
        if not opened or gone:
            aios_db.salvage(broken, tmp_path / f"out {number}")
            elsewhere = set(texts) - _texts_in(original / table, name)
            assert elsewhere <= set(texts_of(tmp_path / f"out {number}")), name


def test_a_note_of_what_was_forced_that_is_damaged_claims_nothing(
    made: tuple[Path, list[str]], tmp_path: Path
) -> None:
    broken = copy(made[0], tmp_path / "broken.aios")
    note = broken / MEMORIES / FORCED
    for content in (b"", b"7", b"00000000000000000999 00000000\n", bytes(29), b"\xff\xfe 1"):
        note.write_bytes(content)
        assert forced_version(broken / MEMORIES) == 0
        with connect(broken, maintenance_delay_s=3600) as con:
            assert con.execute("SELECT count(*) FROM memories").fetchall() == [(len(made[1]),)]
