"""Importing a file or a folder into a database: batches, a journal to go on from, bad rows set aside."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.importers.base import Format, Record, Rejected, Row, Source, UnreadableError, shorten
from aios_db.importers.formats import find_format, format_names
from aios_db.importers.journal import Journal
from aios_db.schema.errors import DataError, OperationalError, ProgrammingError

if TYPE_CHECKING:
    from aios_db.connection import Connection

log = logging.getLogger("aios_db.importers")

BATCH_ROWS = 512
RELATED_WEIGHT = 0.5  # a relation the source states; how strong, it does not say


@dataclass
class ImportReport:
    """What an import did."""

    files: int = 0
    """Files read, now or by an earlier run."""
    skipped: list[str] = field(default_factory=list)
    """Files of no known format."""
    imported: int = 0
    """Rows handed to the database by this run; rows that were there already count too."""
    resumed: int = 0
    """Records of earlier runs that were not read into the database again."""
    links: int = 0
    """Links stated by the source."""
    rejected: int = 0
    """Records set aside by this run."""
    rejected_path: str | None = None
    """Where they are, as JSON lines of location, reason and content."""


Progress = Callable[[str, float, ImportReport], None]
"""Called after each batch with the file's name, the share of it that is done, and the report so far."""


def import_path(
    con: Connection,
    path: str | Path,
    *,
    format: str | None = None,
    defaults: Mapping[str, str] | None = None,
    rejected_path: str | Path | None = None,
    restart: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Remember everything in a file, or in every file of a folder.

    An import that was interrupted goes on after the last batch that was stored; a file that was imported to
    its end is not imported again. Both are known by the file's content, not by its name.

    Parameters
    ----------
    con
        The database.
    path
        A file or a folder, which is read with its sub-folders in the order of their names.
    format
        The name of a format in `FORMATS`, to skip detection.
    defaults
        Columns for rows that do not have them, such as ``{"agent_id": "assistant"}``.
    rejected_path
        The JSON-lines file that bad records are added to; by default beside the database,
        ``<database>.rejected.jsonl``.
    restart
        Read files again that were imported before.
    progress
        Called after each batch.

    Raises
    ------
    OperationalError
        There is no such file, or it cannot be read.
    ProgrammingError
        The file is of no known format, or ``format`` names none.
    """
    database = Path(con.store.path)
    aside = Path(rejected_path) if rejected_path else database.with_name(database.name + ".rejected.jsonl")
    run = _Run(con, database, dict(defaults or {}), aside, progress)
    for source in _sources(Path(path)):
        try:
            chosen = find_format(source, format)
            if chosen is not None:
                run.import_source(source, chosen, restart)
        except UnreadableError as error:
            run.set_aside([Rejected(error.location, error.reason, "")])
            continue
        except OSError as error:
            run.set_aside([Rejected(source.name, f"cannot be read: {error.strerror or error}", "")])
            continue
        if chosen is None:
            if Path(path).is_file():
                raise ProgrammingError(f"{path}: not a known format ({', '.join(format_names())})")
            run.report.skipped.append(source.name)
        source.forget()
    return run.report


def read_path(path: str | Path, format: str | None = None) -> Iterator[Record]:
    """Yield the records of a file or folder without a database; files of no known format yield nothing."""
    for source in _sources(Path(path)):
        chosen = find_format(source, format)
        if chosen is not None:
            yield from chosen.read(source)
        source.forget()


@dataclass
class _Run:
    """One call of `import_path`."""

    con: Connection
    database: Path
    defaults: dict[str, str]
    aside: Path
    progress: Progress | None
    report: ImportReport = field(default_factory=ImportReport)

    def import_source(self, source: Source, chosen: Format, restart: bool) -> None:
        journal = Journal.open(self.database, source.sha256(), chosen.name, self.defaults)
        if restart:
            journal.restart()
        if journal.finished:
            self.report.resumed += journal.done
        else:
            self._import_records(source, chosen.read(source), journal)
            journal.finish(source.name)
        self.report.files += 1

    def _import_records(self, source: Source, records: Iterator[Record], journal: Journal) -> None:
        done = list(_rows(islice(records, journal.done)))
        related = [(row.key, row.related) for row in done if row.key and row.related]
        self.report.resumed += journal.done
        while batch := _next_batch(records):
            rows = list(_rows(batch))
            ids, refused = self._remember(rows)
            self.set_aside([record for record in batch if isinstance(record, Rejected)] + refused)
            keyed = {row.key: memory for row, memory in zip(rows, ids, strict=True) if row.key and memory}
            related += [(row.key, row.related) for row in rows if row.key and row.related]
            journal.commit(journal.done + len(batch), keyed)
            self.report.imported += sum(memory is not None for memory in ids)
            if self.progress:
                self.progress(source.name, batch[-1].progress, self.report)
        self._link(related, journal.ids)

    def _remember(self, rows: Sequence[Row]) -> tuple[list[str | None], list[Rejected]]:
        """Store rows and return their ids, None for a row the database refuses, and the refused."""
        if not rows:
            return [], []
        try:
            return list(self.con.remember([{**self.defaults, **row.fields} for row in rows])), []
        except (DataError, ProgrammingError) as error:
            if len(rows) == 1:
                row, reason = rows[0], str(error).removeprefix("row 0: ")
                return [None], [Rejected(row.location, reason, shorten(row.fields), row.progress)]
        # One bad row must not hold back the batch: halve until it stands alone.
        middle = len(rows) // 2
        left, refused_left = self._remember(rows[:middle])
        right, refused_right = self._remember(rows[middle:])
        return left + right, refused_left + refused_right

    def _link(self, related: Sequence[tuple[str, tuple[str, ...]]], ids: Mapping[str, str]) -> None:
        import pyarrow as pa

        # A memory of an earlier run may have been forgotten since.
        there = {
            key
            for key, row in zip(ids, self.con.store.index.find_ids([*ids.values()]), strict=True)
            if row >= 0
        }
        ends = [(key, other) for key, others in related for other in others if {key, other} <= there]
        pairs = dict.fromkeys((ids[key], ids[other]) for key, other in ends if ids[key] != ids[other])
        links = [
            {"source_id": source, "target_id": target, "kind": "user", "weight": RELATED_WEIGHT}
            for source, target in pairs
        ]
        if links:
            self.report.links += self.con.store.link(pa.Table.from_pylist(links))

    def set_aside(self, rejected: Sequence[Rejected]) -> None:
        """Report records that cannot be imported, and keep them in a file."""
        if not rejected:
            return
        with self.aside.open("a", encoding="utf-8") as file:
            for record in rejected:
                log.warning("%s: %s", record.location, record.reason)
                entry = {"location": record.location, "reason": record.reason, "content": record.content}
                file.write(json.dumps(entry) + "\n")
        self.report.rejected += len(rejected)
        self.report.rejected_path = str(self.aside)


def _rows(records: Iterable[Record]) -> Iterator[Row]:
    return (record for record in records if isinstance(record, Row))


def _next_batch(records: Iterator[Record]) -> list[Record]:
    batch: list[Record] = []
    try:
        for record in islice(records, BATCH_ROWS):
            batch.append(record)
    except UnreadableError as error:
        batch.append(Rejected(error.location, error.reason, ""))
    return batch


def _sources(path: Path) -> Iterator[Source]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and not hidden:
                yield Source(file, path)
    elif path.is_file():
        yield Source(path, path.parent)
    elif path.exists():
        raise OperationalError(f"{path}: is neither a file nor a folder; a pipe cannot be read twice")
    else:
        raise OperationalError(f"{path}: there is no such file or folder")
