"""A small database with each kind of file, and damages."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "faults"))
from kill_writer import connect, row

__all__ = ["DAMAGES", "connect", "make", "row", "texts_of"]

BULK, LATER = [f"first {each}" for each in range(6)], [f"later {each}" for each in range(3)]


def make(path: Path, **settings: Any) -> list[str]:
    """Make a database of several data files, one with deletions, and return the texts in it."""
    kept = {"maintenance_delay_s": 3600, "keep_versions_s": 3600, "compact_after_fragments": 1000, **settings}
    with connect(path, **kept) as con:  # which files there are is known
        ids = con.remember([row(each) for each in BULK])
        for each in LATER:
            con.remember([row(each)])
        con.link(ids[0], ids[5], weight=0.75)
        con.forget(ids[3])
    return sorted({*BULK, *LATER} - {BULK[3]})


def texts_of(out: Path) -> list[str]:
    """Return the texts in a salvage, sorted."""
    return sorted(pq.read_table(out / "memories.parquet")["text"].to_pylist())


def _zeroed(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes(len(content) - half)


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] if content else content


DAMAGES: dict[str, Callable[[bytes], bytes] | None] = {
    "missing": None,
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeroed": _zeroed,
    "flipped middle": lambda content: _flipped(content, len(content) // 2),
    "flipped end": lambda content: _flipped(content, len(content) - 1),
}


def damage(file: Path, how: str) -> None:
    """Damage a file, or each file of a directory."""
    change = DAMAGES[how]
    for each in [file] if file.is_file() else [one for one in file.rglob("*") if one.is_file()]:
        each.unlink() if change is None else each.write_bytes(change(each.read_bytes()))


def copy(database: Path, to: Path) -> Path:
    """Return a fresh copy of a database."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(database, to)
    return to
