"""What a command says to do about a disk that refuses is right for what was refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

import aios_db
from aios_db.backup import making
from aios_db.cli.app import main
from aios_db.engine.catalog import install
from aios_db.engine.weights import building
from aios_db.federation import card_files
from aios_db.schema.advice import NO_MODELS, NO_PLACE, advice

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@pytest.mark.parametrize("number", FULL)
def test_a_full_disk_wants_space(number: int) -> None:
    assert advice(OSError(number, os.strerror(number)), "otherwise") == "free some space and try again"


@pytest.mark.parametrize("number", REFUSED)
def test_a_refusal_wants_permission(number: int) -> None:
    assert advice(OSError(number, os.strerror(number)), "otherwise") == NO_PLACE
    assert advice(OSError(errno.EIO, "I/O"), "otherwise") == "otherwise"


def _install(path: Path) -> object:
    return install.install_minilm(path / "models")


def _export(path: Path) -> object:
    with aios_db.connect(path / "a.aios") as con:
        return con.export(path / "out.jsonl")


def _backup(path: Path) -> object:
    with aios_db.connect(path / "a.aios") as con:
        return con.backup(path / "backups")


def _restore(path: Path) -> object:
    _backup(path)
    return aios_db.restore(path / "backups", path / "b.aios")


def _card(path: Path) -> object:
    return card_files.write_card(None, path / "card.arrow")  # type: ignore[arg-type]


# What is called, what fails in it, and what to do where it is not allowed.
WRITES: dict[str, tuple[Callable[[Path], object], object, str, str]] = {
    "init": (_install, install, "convert_huggingface", NO_MODELS),
    "export": (_export, building.tempfile, "mkdtemp", NO_PLACE),
    "backup": (_backup, making, "_Backup", NO_PLACE),
    "restore": (_restore, building.tempfile, "mkdtemp", NO_PLACE),
    "card": (_card, card_files, "atomic_write", NO_PLACE),
}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("what", WRITES)
def test_what_is_said_fits_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, number: int
) -> None:
    call, owner, name, refused = WRITES[what]

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(aios_db.OperationalError) as caught:
        call(tmp_path)
    wanted = "free some space and try again" if number == errno.ENOSPC else refused
    assert str(caught.value).endswith(wanted)


def test_a_command_says_what_to_do_about_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("aios_db.cli.database.print_fields", fail)
    aios_db.connect(tmp_path / "a.aios").close()
    assert main(["stats", "--db", str(tmp_path / "a.aios")]) == 1
    assert capsys.readouterr().err.endswith("No space left on device; free some space and try again\n")
