"""Writing what can be read of a database as an export, with a report of what cannot."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from aios_db.disk.failures import operational
from aios_db.exports.layout import FORMAT, KEY, LINK_COLUMNS, memory_columns
from aios_db.exports.writing import Source, new_place, write
from aios_db.salvaging.files import schema_of
from aios_db.salvaging.links import SalvagedLinks
from aios_db.salvaging.memories import LINKS, SalvagedMemories
from aios_db.salvaging.report import REPORT, Losses, SalvageReport
from aios_db.salvaging.tables import SalvagedTable
from aios_db.salvaging.versions import DATA
from aios_db.schema import association_links, memories
from aios_db.schema.config import StorageConfig
from aios_db.schema.database import MARKER, table_path
from aios_db.schema.errors import OperationalError
from aios_db.schema.homes import expanded
from aios_db.version import __version__

_FILES_ASKED = 16


def salvage(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> SalvageReport:
    """Write what can be read of a database, damaged as it may be, as an export that `aios import` takes.

    The files of the tables are read without opening the database, and nothing is written to it. What the
    newest version of a table cannot give is taken from older ones where they have it. A memory whose vector
    is lost is kept, and so is one that lacks anything else but its content.

    Parameters
    ----------
    path
        The database directory.
    out
        A directory to make; the report lies in it, too, as ``salvage.json``.

    Raises
    ------
    OperationalError
        There is no database at ``path``, something is at ``out``, a disk fails, or nothing could be read;
        nothing is at ``out`` then.
    """
    database = expanded(path).absolute()
    place = expanded(out).absolute()
    if not table_path(database, memories.TABLE).is_dir() and not (database / MARKER).exists():
        raise OperationalError(f"{database} holds no aios_db database")
    if place.resolve().is_relative_to(database.resolve()):
        raise OperationalError(f"{place} lies in the database; salvage to a path outside of it")
    dimension = _dimension(database)
    with new_place(place) as making:
        source = _Salvaged(database, dimension)
        write(making, source)
        report = SalvageReport(
            str(database), str(place), source.about["memories"], source.about["links"],
            source.links_table.dangling, (*source.memory_losses.all(), *source.link_losses.all()),
        )  # fmt: skip
        if report.losses and not report.memories:
            raise OperationalError(f"nothing could be read of {database}: {report.losses[0]}")
        text = json.dumps({"complete": report.complete, **asdict(report)}, indent=1, ensure_ascii=False)
        (making / REPORT).write_text(text, "utf-8")
    return report


class _Salvaged(Source):
    """What could be read, in the form that an export is written from."""

    def __init__(self, database: Path, dimension: int) -> None:
        self.schema = memory_columns(dimension)
        self.about = {KEY: FORMAT, "made_by": __version__, "dimension": dimension, "embeddings": True}
        self.memory_losses = Losses(database, memories.TABLE)
        self.link_losses = Losses(database, association_links.TABLE)
        self.links_table = SalvagedLinks(self.link_losses)
        self._memories = SalvagedMemories(dimension, self.memory_losses)
        self._database = database

    def memories(self) -> Iterator[pa.RecordBatch]:
        """Yield memories."""
        linked = self.schema.append(memories.memories_schema(1).field(LINKS))
        table = SalvagedTable(table_path(self._database, memories.TABLE), linked, self.memory_losses)
        yield from self._memories.batches(table.rows())
        self.about["memories"] = len(self._memories.ids)

    def links(self) -> Iterator[pa.RecordBatch]:
        """Yield the links between these memories."""
        path = table_path(self._database, association_links.TABLE)
        self.links_table.read(SalvagedTable(path, LINK_COLUMNS, self.link_losses).rows())
        if self.link_losses:
            self.links_table.add(self._memories.links)
        found = self.links_table.between(self._memories.ids)
        self.about["links"] = len(found)
        yield from found.to_batches()


def _dimension(database: Path) -> int:
    """Return the length of the vectors: what most data files say, else the marker, else the default."""
    found: Counter[int] = Counter()
    for path in sorted((table_path(database, memories.TABLE) / DATA).glob("*.lance"))[:_FILES_ASKED]:
        try:
            with operational(f"reading {path}"):
                found[schema_of(path).field("text_embedding").type.list_size] += 1
        except (OperationalError, KeyError, AttributeError):
            continue
    if found:
        return found.most_common(1)[0][0]
    try:
        return int(json.loads((database / MARKER).read_text("utf-8"))["dimension"])
    except (OSError, ValueError, KeyError, TypeError):
        return StorageConfig().dimension
