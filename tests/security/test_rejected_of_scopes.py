"""What imports set aside is of the scope that imported it: others neither read it nor take it away."""

from __future__ import annotations

from pathlib import Path

import pytest

import aios_db
from aios_db.config import Config
from aios_db.importers import import_files
from aios_db.importers.report import ImportReport

pytestmark = pytest.mark.sql
SECRET = "the code of the safe is 7391"


def _connect(path: Path, user: str | None) -> aios_db.Connection:
    return aios_db.connect(path, config=Config(), user_id=user)


def _imported(path: Path, user: str | None, directory: Path) -> ImportReport:
    """Import a file of a memory and of a record that is none, as a user."""
    file = directory / "notes.jsonl"
    file.write_text('{"text": "a note"}\n{"text": "' + SECRET)
    with _connect(path, user) as con:
        return import_files(con, [file])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database in which Ada and nobody have rejected records."""
    path = tmp_path / "agent[1].aios"
    for user in ("ada", None):
        assert _imported(path, user, tmp_path).rejected == 1
    return path


def _rejected(path: Path) -> int:
    return sum(each.read_text().count(SECRET) for each in path.parent.glob("*.rejected.jsonl"))


@pytest.mark.parametrize("selected", [{"external_id": "guess"}, {"source": "notes.jsonl"}])
def test_erase_of_a_user_tells_and_takes_nothing_of_others(path: Path, selected: dict[str, str]) -> None:
    notes = (path / "import_sources.jsonl").read_text()
    with _connect(path, "bo") as bo:
        bo.remember("7391", **{"external_id": "guess", "source": "notes.jsonl"})
        report = bo.erase(**selected)  # type: ignore[arg-type]
    assert report.memories and (report.rejected, report.import_notes) == (0, 0)
    assert _rejected(path) == 2
    assert (path / "import_sources.jsonl").read_text() == notes


def test_a_user_erases_what_the_own_imports_rejected(path: Path, tmp_path: Path) -> None:
    assert _imported(path, "bo", tmp_path).rejected_path != _imported(path, "cy", tmp_path).rejected_path
    with _connect(path, "bo") as bo:
        assert bo.erase(source="notes.jsonl").rejected == 1
    assert _rejected(path) == 3


def test_whoever_erases_in_all_of_the_database_erases_everywhere(path: Path) -> None:
    with _connect(path, None) as con:
        memory_id = con.remember(SECRET)
        assert con.erase(memory_id).rejected == 2
    assert _rejected(path) == 0
