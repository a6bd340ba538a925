"""Tables beside the memories made anew: empty ones, and on request others, of the rows that can be read.

What was damaged is moved to `damaged/` in the database, and not deleted.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import lance
import pyarrow as pa

from aios_db.disk.failures import operational
from aios_db.engine.weights.files import force_file, force_tree
from aios_db.migrations.tables import ensure_table
from aios_db.salvaging.links import SalvagedLinks
from aios_db.salvaging.report import Losses
from aios_db.salvaging.tables import Row, SalvagedTable
from aios_db.salvaging.versions import DATA
from aios_db.schema import association_links, memories
from aios_db.schema.amounts import amount
from aios_db.schema.database import DAMAGED, table_path
from aios_db.schema.tables import BESIDE, RECORDS
from aios_db.security.permissions import DIRECTORY_MODE
from aios_db.store.beside import unreadable
from aios_db.store.strongest import COLUMN

logger = logging.getLogger("aios_db.mending")

_LINK_ENDS = ["source_id", "target_id"]
_MAKING, _WHOLE = "making", "whole"


@dataclass(frozen=True)
class MadeAnew:
    """One table."""

    table: str
    rows: int
    """How many could be read, and are in it again."""
    aside: str | None
    """Where the damaged one is now; None when it was gone."""
    losses: tuple[str, ...] = ()
    """What could not be read of it."""

    def __str__(self) -> str:
        aside = f", the damaged one is in {self.aside}" if self.aside else ""
        lost = f", lost: {'; '.join(self.losses)}" if self.losses else ""
        return f"{self.table}, with {amount(self.rows, 'row')}{aside}{lost}"


def finish(directory: Path) -> None:
    """Put a table in its place that was whole when an earlier attempt was interrupted."""
    for made in (directory / DAMAGED / _WHOLE).glob("*.lance"):
        if not (directory / made.name).exists():
            made.rename(directory / made.name)
            force_file(directory)
    shutil.rmtree(directory / DAMAGED / _MAKING, ignore_errors=True)
    shutil.rmtree(directory / DAMAGED / _WHOLE, ignore_errors=True)


def damaged_tables(directory: Path, known: dict[str, str]) -> dict[str, str]:
    """Return what is wrong with each table beside the memories, every row of which is read.

    Parameters
    ----------
    known
        Those of which it is known already.
    """
    found = dict(known)
    for table, module in BESIDE.items():
        if table not in found:
            reason = unreadable(lance.dataset(table_path(directory, table)), module.SCHEMA.names)
            if reason:
                found[table] = reason
    return found


def has_rows_to_lose(directory: Path, table: str) -> bool:
    """Tell whether a damaged table has files that may hold rows."""
    files = table_path(directory, table) / DATA
    return files.is_dir() and any(files.iterdir())


def make_anew(directory: Path, table: str) -> MadeAnew:
    """Replace a damaged table by one with the rows that can be read; the caller holds the write lock.

    Links are also those that the memories themselves name.

    Raises
    ------
    OperationalError
        The disk fails; the damaged table is where it was.
    """
    place, aside = table_path(directory, table), directory / DAMAGED
    losses = Losses(directory, table)
    with operational(f"making {table} of {directory} anew"):
        aside.mkdir(DIRECTORY_MODE, exist_ok=True)
        making = aside / _MAKING
        making.mkdir(DIRECTORY_MODE)
        rows = _links(directory, losses) if table == association_links.TABLE else _rows(place, table, losses)
        schema: pa.Schema = BESIDE[table].SCHEMA
        ensure_table(making, table, schema, [])
        made = table_path(making, table)
        if len(rows):
            lance.write_dataset(rows, made, mode="append")
        ensure_table(making, table, schema, _LINK_ENDS if table == association_links.TABLE else [])
        made.chmod(DIRECTORY_MODE)
        force_tree(making)
        making.rename(aside / _WHOLE)
        force_file(aside)
        old = None
        if place.exists():
            old = aside / f"{table}-{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}.lance"
            place.rename(old)
        table_path(aside / _WHOLE, table).rename(place)
        force_file(directory)
        (aside / _WHOLE).rmdir()
    report = MadeAnew(table, len(rows), str(old) if old else None, tuple(str(each) for each in losses.all()))
    logger.warning("made anew: %s", report, extra={"event": "table_made_anew", "table": table})
    return report


def _rows(place: Path, table: str, losses: Losses) -> pa.Table:
    """Return the rows of a table that are whole, each key once."""
    schema = BESIDE[table].SCHEMA
    required = {each.name for each in schema if not each.nullable}
    found: dict[object, dict[str, object]] = {}
    if place.is_dir():
        for given in SalvagedTable(place, schema, losses).rows():
            for values, lost, file in _each(given):
                if lost & required or any(values[name] is None for name in required):
                    losses.row(file, (), "cannot be read")
                else:
                    found.setdefault(values[RECORDS[table].KEY], values)
    return pa.Table.from_pylist(list(found.values()), schema)


def _each(given: tuple[Path, pa.Table] | Row) -> list[tuple[dict[str, object], set[str], Path]]:
    if isinstance(given, Row):
        return [(given.values, given.lost, given.file)]
    return [(values, set(), given[0]) for values in given[1].to_pylist()]


def _links(directory: Path, losses: Losses) -> pa.Table:
    found = SalvagedLinks(losses)
    place = table_path(directory, association_links.TABLE)
    if place.is_dir():
        found.read(SalvagedTable(place, association_links.SCHEMA, losses).rows())
    ids: set[str] = set()
    table = lance.dataset(table_path(directory, memories.TABLE))
    for batch in table.scanner(columns=["memory_id", COLUMN]).to_batches():
        names = batch["memory_id"].to_pylist()
        ids.update(names)
        for name, links in zip(names, batch[COLUMN].to_pylist(), strict=True):
            found.add({"source_id": name, **each} for each in links or ())
    return found.between(ids)
