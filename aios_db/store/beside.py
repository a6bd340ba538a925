"""A database whose memories open, though tables beside them are damaged: it is read, and not written.

What needs no damaged table goes on: the memories, recall (without links, if it is those that are damaged),
export. What needs one raises an error that names the file and the remedy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import lance
import pyarrow as pa

from aios_db.disk.durable import fragment_files, manifest, versions
from aios_db.disk.failures import DAMAGED, operational
from aios_db.schema import association_links, memories, quarantine_releases
from aios_db.schema.database import table_path
from aios_db.schema.errors import OperationalError
from aios_db.schema.tables import BESIDE, RECORDS
from aios_db.search.index import SearchIndex
from aios_db.search.source import LINK_COLUMNS

logger = logging.getLogger("aios_db.store")


class Damaged:
    """Which tables beside the memories cannot be read.

    Parameters
    ----------
    directory
        The database.
    reasons
        What is wrong with each.
    """

    def __init__(self, directory: Path, reasons: dict[str, str]) -> None:
        self.directory, self._reasons = directory, dict(reasons)

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def __contains__(self, table: str) -> bool:
        return table in self._reasons

    def __str__(self) -> str:
        return "; ".join(self._reasons.values())

    def add(self, table: str, reason: str) -> None:
        """Note one more."""
        self._reasons[table] = reason

    def look(self) -> None:
        """Note tables of records that do not open with all of their columns.

        Of what was released from quarantine, which every connection reads whole, every row is read.
        """
        for table in [each for each in RECORDS if each not in self]:
            place, wanted = table_path(self.directory, table), RECORDS[table].SCHEMA.names
            where = place / manifest(max(versions(place), default=0))
            try:
                with operational(f"opening {where}", DAMAGED):
                    dataset = lance.dataset(place)
                    if lost := set(wanted) - set(dataset.schema.names):
                        raise OperationalError(f"{where} is damaged: it has no column {min(lost)}")
            except OperationalError as error:
                self.add(table, str(error))
                continue
            if table == quarantine_releases.TABLE and (reason := unreadable(dataset, wanted)):
                self.add(table, reason)

    def require(self, table: str) -> None:
        """Raise where a table cannot be read.

        Raises
        ------
        OperationalError
            With the file and what to do.
        """
        if table in self._reasons:
            raise OperationalError(f"{table} is needed for this. {self._reasons[table]}; {self.remedy}")

    def table(self, table: str) -> Any:
        """Return what stands in the place of the dataset of a damaged table."""
        return UnreadableTable(self, table)

    @property
    def remedy(self) -> str:
        """What brings them back."""
        return (
            f"aios repair --db {self.directory} makes tables anew that have no rows to lose, and others "
            "with --recreate TABLE, of the rows that can be read"
        )

    @property
    def why_read_only(self) -> str:
        """Why nothing is written."""
        names = ", ".join(sorted(self._reasons))
        return f"{self.directory} is only read, since {names} cannot be: {self}; {self.remedy}"

    def warn(self) -> None:
        """Say loudly what is missing."""
        left = "recalled without their links" if association_links.TABLE in self else "recalled"
        logger.warning(
            "%s; its memories can be read, %s, and exported", self.why_read_only, left,
            extra={"event": "damaged_tables", "tables": sorted(self._reasons)},
        )  # fmt: skip


class UnreadableTable:
    """In the place of a dataset: it has a schema, and everything else raises."""

    def __init__(self, damaged: Damaged, table: str) -> None:
        self.schema = BESIDE[table].SCHEMA
        self._damaged, self._table = damaged, table

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()

    def _refuse(self) -> NoReturn:
        self._damaged.require(self._table)
        raise AssertionError(self._table)


def open_level(
    open_table: Callable[[str], lance.LanceDataset],
    new_index: Callable[[lance.LanceDataset], SearchIndex],
    damaged: Damaged,
    check: Callable[[pa.Schema], None],
    attempts: int = 3,
) -> tuple[lance.LanceDataset, lance.LanceDataset, SearchIndex]:
    """Open memories and links, and the index over them; links that cannot be read are none, and ``damaged``.

    What is no longer the newest version, since another process has written one, may be cleaned up already: it
    says nothing of damage, and the newest ones are opened instead, up to ``attempts`` times.

    Raises
    ------
    OperationalError
        The memories cannot be read.
    """
    links = None
    if association_links.TABLE not in damaged:
        try:
            with operational(f"opening {table_path(damaged.directory, association_links.TABLE)}", DAMAGED):
                links = open_table(association_links.TABLE)  # first: its ends are then among the memories
        except OperationalError as error:
            damaged.add(association_links.TABLE, str(error))
    with operational(f"opening {table_path(damaged.directory, memories.TABLE)}", DAMAGED):
        stored = open_table(memories.TABLE)
        check(stored.schema)
    if links is not None:
        try:
            with operational(f"reading {damaged.directory}", DAMAGED):
                index = new_index(stored)
                index.sync(stored, links)
                return stored, links, index
        except OperationalError:
            if attempts > 1 and (_is_outdated(stored) or _is_outdated(links)):
                return open_level(open_table, new_index, damaged, check, attempts - 1)
            reason = unreadable(links, LINK_COLUMNS)
            if not reason:
                raise
            damaged.add(association_links.TABLE, reason)
    without = lance.write_dataset(
        association_links.SCHEMA.empty_table(), "memory://links", enable_stable_row_ids=True
    )
    index = new_index(stored)
    index.sync(stored, without)
    return stored, without, index


def _is_outdated(dataset: lance.LanceDataset) -> bool:
    return max(versions(Path(dataset.uri)), default=0) > dataset.version


def unreadable(dataset: lance.LanceDataset, columns: Iterable[str]) -> str:
    """Return what is wrong with a table that is read whole, with the file, or nothing when it can be read."""
    names = list(columns)
    try:
        with operational(f"reading {dataset.uri}"):
            dataset.scanner(columns=names, limit=0).to_table()  # its columns, also where it has no rows
            fragments = dataset.get_fragments()
        for fragment in fragments:
            files = " and ".join(name for name, _ in fragment_files([fragment.metadata]))
            with operational(f"reading {files} of {dataset.uri}"):
                for batch in fragment.scanner(columns=names).to_batches():
                    batch.validate(full=True)
    except OperationalError as error:
        return str(error)
    return ""
