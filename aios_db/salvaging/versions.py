"""The versions of a table that can be read, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lance
import numpy as np
from lance import LanceFragment
from numpy.typing import NDArray

from aios_db.disk.durable import TRANSACTIONS, hinted, manifest, versions
from aios_db.disk.failures import operational
from aios_db.schema.errors import OperationalError

DATA = "data"


@dataclass(frozen=True)
class Live:
    """The rows of a fragment that are not deleted."""

    files: tuple[Path, ...]
    count: int
    """Rows in its files, deleted ones included."""
    offsets: NDArray[np.int64]
    """Where the rows lie in the files."""
    row_ids: NDArray[np.int64]
    """Their Lance row ids."""


@dataclass(frozen=True)
class Undeleted:
    """A fragment whose deletions, or row ids, cannot be read: any of its rows may be there no more."""

    files: tuple[Path, ...]
    count: int
    deletions: Path | None


class Version:
    """One version of a table.

    Raises
    ------
    OperationalError
        Its manifest cannot be read.
    """

    def __init__(self, table: Path, number: int) -> None:
        self.number, self._table = number, table
        with operational(f"reading {table / manifest(number)}"):
            self._fragments: list[LanceFragment] = lance.dataset(table, version=number).get_fragments()
            self.files = {
                table / DATA / file.path for each in self._fragments for file in each.metadata.files
            }

    def fragments(self) -> Iterator[Live | Undeleted]:
        """Yield the fragments; their data files are not read for it."""
        for fragment in self._fragments:
            known = fragment.metadata
            files = tuple(self._table / DATA / file.path for file in known.files)
            try:
                with operational(f"reading the rows of fragment {fragment.fragment_id} of {self._table}"):
                    keys = fragment.scanner(columns=[], with_row_id=True, with_row_address=True).to_table()
                    offsets = keys["_rowaddr"].to_numpy().astype(np.int64) & 0xFFFFFFFF
                    yield Live(
                        files, known.physical_rows, offsets, keys["_rowid"].to_numpy().astype(np.int64)
                    )
            except OperationalError:
                deletion = known.deletion_file
                path = None if deletion is None else self._table / deletion.path(fragment.fragment_id)
                yield Undeleted(files, known.physical_rows, path)


def readable(table: Path) -> Iterator[Version]:
    """Yield the versions of a table whose manifests can be read, newest first."""
    for number in versions(table):
        try:
            yield Version(table, number)
        except OperationalError:
            continue


def newest_number(table: Path) -> int | None:
    """Return the number of the newest version that there was, as far as files tell.

    A transaction is written before its manifest, and names the version that it was begun on: the one after
    that may have been made.
    """
    numbers = versions(table)[:1]
    for path in (table / TRANSACTIONS).glob("*-*.txn"):
        with suppress(ValueError):
            numbers.append(int(path.name.partition("-")[0]) + 1)
    return max([*numbers, *([hinted(table)] if hinted(table) else [])], default=None)
