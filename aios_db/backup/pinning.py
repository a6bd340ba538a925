"""One state of a database that others go on writing to.

Under the write lock, for milliseconds: the newest version of each table, and the content of the files beside
them. The files of these versions never change, and nothing removes them while the lock of compaction is held.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lance
from filelock import FileLock, Timeout

from aios_db.backup.manifest import TableState
from aios_db.disk.durable import TRANSACTIONS, data_files, index_files, manifest
from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.schema.database import DAMAGED, INDEX, LOCK
from aios_db.schema.errors import OperationalError
from aios_db.store.compaction import LOCK as COMPACTION_LOCK
from aios_db.store.marker import COPY

logger = logging.getLogger("aios_db.backup")

_TABLE = ".lance"
_MAKING = "reembed_"  # a table of vectors in the making; they are made again
_LEFT_OUT = (".lock", ".new", ".begun")
_NOT_OF_IT = (INDEX, DAMAGED, COPY)
_READ_AT_ONCE = "imports"  # what says which rows are in the tables must not be newer than they are


@dataclass(frozen=True)
class Pinned:
    """The files of one state; paths are within the database."""

    tables: dict[str, TableState]
    unchanging: list[str]
    """Of one name there is only ever one content."""
    others: list[str]
    contents: dict[str, bytes]
    """Files that change in place, as they were."""


@contextmanager
def pinned(database: Path, timeout_s: float) -> Iterator[Pinned]:
    """Yield the newest state of a database; its files stay until the end.

    Raises
    ------
    OperationalError
        Another process writes or compacts for longer than ``timeout_s``, or the database cannot be read.
    """
    if not os.access(database, os.W_OK):
        logger.warning("%s is not writable, so nothing keeps others from writing meanwhile", database)
        with operational(f"reading {database}"):
            state = _state(database)
        yield state
        return
    try:
        with FileLock(database / COMPACTION_LOCK, timeout=timeout_s):
            with WriteLock(database / LOCK, timeout_s).hold(), operational(f"reading {database}"):
                state = _state(database)
            yield state
    except Timeout:
        raise OperationalError(
            f"another process is compacting {database}, or making a backup of it; try again"
        ) from None


def _state(database: Path) -> Pinned:
    tables: dict[str, TableState] = {}
    unchanging: list[str] = []
    others: list[str] = []
    contents: dict[str, bytes] = {}
    for path in sorted(database.iterdir()):
        if path.name.endswith(_LEFT_OUT) or path.name in _NOT_OF_IT or path.is_symlink():
            continue
        if path.is_file():
            contents[path.name] = path.read_bytes()
        elif path.name == _READ_AT_ONCE:
            contents |= {f"{path.name}/{name}": (path / name).read_bytes() for name in _files(path)}
        elif path.suffix != _TABLE:
            others += [f"{path.name}/{name}" for name in _files(path)]
        elif not path.name.startswith(_MAKING):
            dataset = lance.dataset(path)
            tables[path.stem] = TableState(dataset.version, dataset.count_rows())
            named = {*(name for name, _ in data_files(dataset)), *index_files(dataset)}
            unchanging += [f"{path.name}/{name}" for name in sorted(named)]
            about = [manifest(dataset.version), *_transactions(path, dataset.version)]
            others += [f"{path.name}/{name}" for name in about]
    return Pinned(tables, unchanging, others, contents)


def _files(directory: Path) -> list[str]:
    return sorted(
        each.relative_to(directory).as_posix()
        for each in directory.rglob("*")
        if each.is_file() and not each.is_symlink() and not each.name.endswith(_LEFT_OUT)
    )


def _transactions(table: Path, version: int) -> list[str]:
    """Return the file that says how a version was made from the one before."""
    found = (table / TRANSACTIONS).glob(f"{version - 1}-*.txn")
    return sorted(each.relative_to(table).as_posix() for each in found)
