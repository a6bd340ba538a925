"""Versions of a table that a loss of power, or a write whose end failed, left torn, are stepped over.

A version is whole when its manifest ends as Lance's files end, and each file that it names is there with its
size and end. A table goes back to its newest whole version. Torn manifests are set aside and not deleted.

That gives up every version after it, so it is done only where unsynced writes can explain what is found. A
version is stepped over when all of this holds; else the table is damaged, and nothing is changed:

- It was not forced to the disk. Which one was, `durable.forced_version` says; with `storage.durability: full`
  each is before it is acknowledged.
- What is missing of it, short or zeros, it wrote itself: its manifest, or a file that the version before does
  not name. Where only an older file is, the version was written to its end and later than that.
- It was written within two minutes before the newest one: by then the system has written what it held back.
- So it is with every version after it: they are the newest ones.

Then what one table says of the other is uneven: links without their memories, memories without their links. A
note among the torn manifests says so until that is mended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from aios_db.disk.durable import (
    HINT,
    TRANSACTIONS,
    VERSIONS,
    data_files,
    forced_version,
    fragment_files,
    hinted,
    manifest,
    versions,
)
from aios_db.disk.failures import DAMAGED
from aios_db.engine.weights.files import force_file
from aios_db.schema.amounts import amount
from aios_db.schema.errors import OperationalError
from aios_db.store.kept import ASIDE

_UNEVEN = "uneven"
_DIRTY_S = 120.0  # a system writes what it holds back within half a minute or so
# By suffix, the last bytes of a file that was written to its end. A bitmap of deletions has none.
_ENDS = {".lance": b"LANC", ".manifest": b"LANC", ".arrow": b"ARROW1"}


@dataclass(frozen=True)
class WentBack:
    """A table whose newest versions were torn."""

    table: str
    torn: tuple[int, ...]
    """The versions set aside, newest first."""
    version: int
    """The newest whole version, where the table is now."""
    rows: int
    """How many rows it has."""


def is_whole(path: Path, size: int | None = None) -> bool:
    """Tell whether a file is there, has ``size`` bytes if that is known, and ends as its kind does.

    Raises
    ------
    OSError
        It cannot be read, which says nothing about what is in it.
    OperationalError
        It has its size and some other end. A loss of power leaves a file short or zeros in it: this is
        damage, and an older version would hide it.
    """
    end = _ENDS.get(path.suffix, b"")
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            if length == 0 or length < len(end) or (size is not None and length != size):
                return False
            file.seek(-len(end), os.SEEK_END)
            found = file.read()
            if found == end and path.suffix == ".arrow":
                _check_deletions(file, path)
    except FileNotFoundError:
        return False
    if found != end and size is not None and any(found):
        raise OperationalError(f"{path} is damaged: it ends with {found!r} and not with {end!r}; {DAMAGED}")
    return found == end


def _check_deletions(file: BinaryIO, path: Path) -> None:
    """Read the rows that are deleted: Lance aborts the process where it meets nonsense in them."""
    file.seek(0)
    try:
        with pa.ipc.open_file(pa.BufferReader(file.read())) as reader:
            reader.read_all().validate(full=True)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise OperationalError(f"{path} is damaged: {error}; {DAMAGED}") from error


def check_written(table: Path, fragments: Iterable[FragmentMetadata]) -> None:
    """Refuse to commit rows that did not reach their file whole.

    Raises
    ------
    OSError
        A file is shorter than what was written to it, or lacks its end.
    """
    for path, size in fragment_files(fragments):
        if not is_whole(table / path, size):
            raise OSError(f"{table / path} was not written to its end; is the disk full?")


def is_torn(table: Path) -> bool:
    """Tell whether the newest version of a table, or the log of an older one, is torn. It only reads."""
    found = versions(table)
    while found and not _is_whole_version(table, found[0]):
        before, found = found, versions(table)
        if found[:1] == before[:1]:  # else another process has replaced it, and cleaned up, meanwhile
            return True
    return not found or bool(_empty(table))


def lost_newest(table: Path) -> tuple[int, int] | None:
    """Return the newest version of a table whose manifest is gone, and the one that opens in its place."""
    newest = hinted(table)
    if not newest or (table / manifest(newest)).exists():
        return None
    found = versions(table)[:1]  # another process may have gone on, and cleaned up
    return (newest, found[0]) if found and found[0] < newest else None


def torn_versions(table: Path) -> tuple[list[int], int]:
    """Return the newest versions that are torn, and the whole one before them. It only reads.

    Raises
    ------
    OperationalError
        No version is whole, or what is wrong with them is no loss of power.
    """
    found = versions(table)
    torn: list[int] = []
    while len(torn) < len(found) and not _is_whole_version(table, found[len(torn)]):
        torn.append(found[len(torn)])
    if why := _damage(table, torn):
        newer = f" and of the {len(torn) - 1} after it" if len(torn) > 1 else ""
        raise OperationalError(
            f"opening {table} failed: a file of version {torn[-1]}{newer} is "
            f"missing or short, {why}. Nothing was changed. aios doctor --deep names the file; {DAMAGED}"
        )
    if len(torn) == len(found):
        state = f"nothing of {amount(len(torn), 'version')} is whole" if torn else "it is missing"
        raise OperationalError(f"opening {table} failed: {state}; {DAMAGED}")
    return torn, found[len(torn)]


def _damage(table: Path, torn: list[int]) -> str:
    """Return why no loss of power has left these newest versions as they are; nothing where one may have."""
    if not torn:
        return ""
    if _written_at(table, torn[0]) - _written_at(table, torn[-1]) > _DIRTY_S:
        return "and that version is too old for a loss of power to have left it so"
    if (forced := forced_version(table)) >= torn[-1]:
        return f"though version {forced} was on the disk as a whole: it is damaged since"
    for version in torn:
        if is_whole(table / manifest(version)) and (older := _older_file(table, version)):
            return f"namely {older}, which an older version than {version} wrote, that is whole itself"
    return ""


def _older_file(table: Path, version: int) -> str:
    """Return a file that keeps a version from being whole, though nothing that it wrote itself does."""
    older = (each for each in versions(table) if each < version)
    before = next((each for each in older if is_whole(table / manifest(each))), None)
    if before is None:
        return ""
    inherited = {path for path, _ in data_files(lance.dataset(table, version=before))}
    lacking = [
        path
        for path, size in data_files(lance.dataset(table, version=version))
        if not is_whole(table / path, size)
    ]
    return lacking[0] if inherited.issuperset(lacking) else ""


def go_back(table: Path) -> WentBack | None:
    """Bring a table to its newest whole version; the caller holds the write lock.

    Returns
    -------
    WentBack or None
        None when the newest version is whole; of older ones, what is torn is set aside all the same.

    Raises
    ------
    OperationalError
        No version is whole. Nothing was changed then.
    """
    torn, whole = torn_versions(table)
    aside = table / ASIDE
    aside.mkdir(exist_ok=True)
    if torn:
        (aside / _UNEVEN).touch()
        force_file(aside)
    # From the newest down: killed in between, the table still has no gap below its newest version.
    for path in [*(table / manifest(version) for version in torn), *_empty(table)]:
        if path.exists():
            path.replace(aside / path.name)
    (table / HINT).unlink(missing_ok=True)
    for directory in (VERSIONS, TRANSACTIONS):
        force_file(table / directory)
    if not torn:
        return None
    rows = lance.dataset(table).count_rows()
    return WentBack(table.name.removesuffix(".lance"), tuple(torn), whole, rows)


def uneven(tables: Iterable[Path]) -> list[Path]:
    """Return the notes of tables that went back and have not been brought level with the others since."""
    notes = [table / ASIDE / _UNEVEN for table in tables]
    return [note for note in notes if note.exists()]


def _written_at(table: Path, version: int) -> float:
    return (table / manifest(version)).stat().st_mtime


def _empty(table: Path) -> list[Path]:
    """Return the manifests and transactions without a byte: Lance reads those of old versions, too."""
    return [
        Path(entry.path)
        for directory in (VERSIONS, TRANSACTIONS)
        if (table / directory).is_dir()
        for entry in os.scandir(table / directory)
        if entry.name.endswith((".manifest", ".txn")) and _is_empty(entry)
    ]


def _is_empty(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat().st_size == 0
    except FileNotFoundError:  # another process has cleaned up meanwhile
        return False


def _is_whole_version(table: Path, version: int) -> bool:
    """Tell whether all that a version consists of is there; what cannot be read at all is no torn version."""
    if not is_whole(table / manifest(version)):
        return False
    dataset = lance.dataset(table, version=version)
    return all(is_whole(table / path, size) for path, size in data_files(dataset))
