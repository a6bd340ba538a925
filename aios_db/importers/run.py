"""Importing files into a database: batches, a journal to go on from, bad records set aside."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_db.exports.reading import is_export, read_export
from aios_db.importers.archives import is_archive, unpacked
from aios_db.importers.aside import RETRY, Aside, Noted, noted, of_source
from aios_db.importers.base import (
    Format,
    Options,
    Record,
    Rejected,
    Row,
    Skipped,
    Source,
    UnreadableError,
    first_line,
)
from aios_db.importers.formats import find_format, format_called, format_names
from aios_db.importers.journal import Journal
from aios_db.importers.media import Within, placed
from aios_db.importers.naming import SourceNames
from aios_db.importers.options import checked_options
from aios_db.importers.replacing import Naming, remove_gone
from aios_db.importers.report import FileReport, ImportReport
from aios_db.importers.sources import check_paths, find_sources
from aios_db.importers.storing import BATCH_ROWS, Storing
from aios_db.schema.amounts import amount
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.progress import Progress, silent
from aios_db.security.scope import defaults_in

if TYPE_CHECKING:
    from aios_db.connection import Connection

log = logging.getLogger("aios_db.importers")

_LEAST_SHARE = 0.001
"""Of a file, from which its number of records is estimated."""


def retry_rejected(con: Connection, path: str | Path, **options: Any) -> ImportReport:
    """Import the records of a file of rejected ones again; those that fail again stay in it.

    A record may have been mended there, or the database since. It gets the source and the place that it had.

    Parameters
    ----------
    con
        The database.
    path
        The file, as an import left it.
    **options
        ``defaults``, ``mapping``, ``time_zone`` and ``progress``, as for `import_files`.

    Raises
    ------
    OperationalError
        There is no such file.
    """
    wanted = Path(path)
    check_paths([wanted])
    said = checked_options(options.get("mapping"), None, True, options.get("time_zone"))
    run = _Run(
        con, Path(con.store.path), defaults_in(con.store.scope, options.get("defaults")), Aside(wanted),
        options.get("progress", silent), ImportReport(), restart=True, sync=False,
    )  # fmt: skip
    return run.retry(Source(wanted, wanted.parent, said))


def import_path(con: Connection, path: str | Path, **options: object) -> ImportReport:
    """Remember everything in a file, or in every file of a folder: `import_files` of one path."""
    return import_files(con, [path], **options)  # type: ignore[arg-type]


def import_files(
    con: Connection,
    paths: Iterable[str | Path],
    *,
    format: str | None = None,
    defaults: Mapping[str, str] | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    header: bool = True,
    time_zone: str | None = None,
    rejected_path: str | Path | None = None,
    restart: bool = False,
    sync: bool = False,
    progress: Progress = silent,
) -> ImportReport:
    """Remember everything in files and in every file of folders.

    An import that was interrupted goes on after the last batch that was stored; a file that was imported to
    its end is not read again until it changes. Each memory has the file and its place there as
    ``external_id``: what changed replaces its memory, what did not change is left alone.

    Parameters
    ----------
    con
        The database.
    paths
        Files and folders, which are read with their sub-folders in the order of their names.
    format
        The name of a format in `FORMATS`, to skip detection.
    defaults
        Columns for rows that do not have them, such as ``{"agent_id": "assistant"}``.
    mapping
        Which field of the files is which column: ``{"text": "body", "occurred_at": "when"}``.
    encoding
        The encoding of text files; found out by default.
    header
        False when the first line of CSV files is a row and not the names of the columns.
    time_zone
        The zone of times that name none, such as ``Europe/Lisbon``; UTC by default.
    rejected_path
        The JSON-lines file that bad records are added to; by default beside the database,
        ``<database>.rejected.jsonl``, or a file of the connection's scope.
    restart
        Read files again that were imported before.
    sync
        Forget the memories whose rows, passages or files are gone since the last import of these paths.
    progress
        Told after each batch the file's name, how many of its records are read, and about how many it has.

    Raises
    ------
    OperationalError
        There is no file or folder at one of the paths; nothing is imported then.
    ProgrammingError
        The only file is of no known format, or ``format``, ``mapping``, ``encoding`` or ``time_zone``
        name none.
    """
    database = Path(con.store.path)
    aside = Path(rejected_path) if rejected_path else con.store.scope.rejected(database)
    wanted = [Path(path) for path in paths]
    options = checked_import(
        wanted, format, mapping=mapping, encoding=encoding, header=header, time_zone=time_zone
    )
    defaults = defaults_in(con.store.scope, defaults)
    run = _Run(con, database, defaults, Aside(aside), progress, ImportReport(), restart, sync)
    with con.store.as_one_change("import"):
        for path in wanted:
            if format is None and is_export(path):
                run.import_export(path)
            else:
                run.import_path(path, options, format)
        for path in wanted if sync else ():
            run.remove_gone_files(path)
    return run.report


def checked_import(
    paths: Sequence[Path],
    format: str | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    header: bool = True,
    time_zone: str | None = None,
) -> Options:
    """Return what is said about files, or raise what `import_files` does where that cannot be meant."""
    options = checked_options(mapping, encoding, header, time_zone)
    check_paths(paths)
    if format is not None:
        format_called(format)
    elif len(paths) == 1 and paths[0].is_file() and not is_export(paths[0]):
        (source,) = find_sources(paths[0], options, lambda name, reason: None)
        try:
            known = is_archive(source) or find_format(source) is not None
        except (UnreadableError, OSError, RecursionError, MemoryError, ValueError):
            return options  # such a file is set aside
        finally:
            source.forget()
        if not known:
            raise ProgrammingError(f"{source.path}: not a known format ({', '.join(format_names())})")
    return options


def read_path(
    path: str | Path, format: str | None = None, options: Options | None = None
) -> Iterator[Record]:
    """Yield the records of a file or folder without a database; files of no known format yield nothing."""
    check_paths([Path(path)])
    for source in find_sources(Path(path), options or Options(), lambda name, reason: None):
        yield from _read_source(source, format, 1)


def _read_source(source: Source, format: str | None, depth: int) -> Iterator[Record]:
    if format is None and is_archive(source):
        with unpacked(source, depth) as folder:
            for inner in find_sources(folder, source.options, lambda name, reason: None):
                yield from _read_source(inner.named(f"{source.name}/{inner.name}"), None, depth + 1)
        return
    chosen = find_format(source, format)
    if chosen is not None:
        yield from chosen.read(source)
    source.forget()


@dataclass
class _Run:
    """One call of `import_files`."""

    con: Connection
    database: Path
    defaults: dict[str, str]
    aside: Aside
    progress: Progress
    report: ImportReport
    restart: bool
    sync: bool
    seen: set[str] = field(default_factory=set)
    """Names of the files that are there, whether they could be read or not."""

    def __post_init__(self) -> None:
        self._storing = Storing(self.con)
        self.names = SourceNames(self.database, self._was_imported)

    def import_export(self, path: Path) -> None:
        """Take in what another database exported, with its ids."""
        self.con.session.check_writable()
        taken = read_export(self.con.store, path, self.progress)
        self.report.include(FileReport(**vars(taken), name=path.name, format="export"))

    def import_path(self, path: Path, options: Options, format: str | None) -> None:
        """Import a file, or the files of a folder."""
        sources = list(find_sources(path, options, self.skip))
        self.names.notice_moves(sources)
        for source in sources:
            self.import_source(self.names.named(source), format)

    def retry(self, source: Source) -> ImportReport:
        """Import rejected records again, and leave in their file those that fail again."""
        failed: list[tuple[str, Rejected]] = []
        report = FileReport(name=source.name, format=RETRY.name)
        known = noted(source)

        def place(record: Record) -> Noted:
            return known.get(record.location, Noted(record.location.partition(":")[0]))

        for note, records in groupby(RETRY.read(source), key=place):
            naming = Naming(note.file, self.defaults)
            time_zone = source.options.time_zone or note.time_zone
            while batch := [of_source(each, note.source) for each in islice(records, BATCH_ROWS)]:
                _, _, refused = self._import_batch(batch, naming, report)
                failed += [(note.file, replace(record, time_zone=time_zone)) for record in refused]
        self.aside.replace(failed)
        self.report.rejected_path = str(self.aside.path) if failed else None
        self.report.include(report)
        return self.report

    def remove_gone_files(self, path: Path) -> None:
        """Forget what was imported from files that are gone from a path."""
        for name in self.names.under(path):
            if name not in self.seen:
                gone = remove_gone(self.con, name, set(), self.defaults)
                self.report.removed += gone
                log.info("%s is gone: %s removed", name, amount(gone, "memory"))

    def _was_imported(self, source: Source) -> bool:
        chosen = find_format(source)
        return chosen is not None and self._journal(source, chosen).done > 0

    def _journal(self, source: Source, chosen: Format) -> Journal:
        options = source.options
        how = [source.name, options.encoding, options.header, sorted(options.mapping.items())]
        if options.time_zone is not None:
            how.append(options.time_zone)
        return Journal.open(self.database, source.sha256(), f"{chosen.name} {how}", self.defaults)

    def skip(self, name: str, reason: str) -> None:
        """Report a file that is left alone."""
        log.info("%s: %s", name, reason)
        self.report.skipped_files[name] = reason

    def import_source(self, source: Source, format: str | None, *, depth: int = 1) -> None:
        """Import one file, or those of an archive; whatever is wrong with it, the others follow."""
        self.seen.add(source.name)
        report = FileReport(name=source.name)
        try:
            if format is None and is_archive(source):
                self._import_archive(source, depth)
                return
            chosen = find_format(source, format)
            if chosen is None:
                self.skip(source.name, "not a known format")
                return
            report.format = chosen.name
            self._import(source, chosen, report)
        except (UnreadableError, OSError, RecursionError, MemoryError, ValueError) as error:
            broken = _unreadable(source, error)
            log.warning("%s: %s", broken.location, broken.reason)
            self._set_aside(report, [broken], source)
            report.read += 1
            report.rejected += 1
        finally:
            source.forget()
        for problem, count in report.warnings.items():
            log.warning("%s: %s (%s; kept in the metadata)", source.name, problem, amount(count, "row"))
        if report.format or report.read:
            self.report.include(report)

    def _import_archive(self, source: Source, depth: int) -> None:
        with unpacked(source, depth) as folder:
            for inner in find_sources(folder, source.options, self.skip):
                self.import_source(self.names.inside(source, inner), None, depth=depth + 1)

    def _import(self, source: Source, chosen: Format, report: FileReport) -> None:
        journal = self._journal(source, chosen)
        if self.restart or (self.sync and journal.finished):
            journal.restart()
        done = journal.done
        if not journal.finished:
            allowed = self.con.restrictions.allowed_directories
            self._storing.within = Within((source.root, *allowed))
            records = placed(chosen.read(source), source, self._storing.within)
            self._import_records(source, records, journal, report)
            journal.finish(source.name)
        if done:
            report.read += done
            report.skipped += done
            report.resumed += done
            report.skip_reasons["imported before"] += done

    def _import_records(
        self, source: Source, records: Iterator[Record], journal: Journal, report: FileReport
    ) -> None:
        naming = Naming(source.name, self.defaults)
        done = [naming.named(row)[0] for row in _rows(islice(records, journal.done))]
        self._storing.begin_file(done)
        related = [(row.key, row.related) for row in done if row.key and row.related]
        while batch := _next_batch(source, records):
            rows, ids, refused = self._import_batch(batch, naming, report)
            self._set_aside(report, refused, source)
            keyed = {row.key: memory for row, memory in zip(rows, ids, strict=True) if row.key and memory}
            related += [(row.key, row.related) for row in rows if row.key and row.related]
            journal.commit(journal.done + len(batch), keyed)
            share = max(batch[-1].progress, _LEAST_SHARE)
            self.progress(source.name, journal.done, round(journal.done / share))
        if journal.done:
            self.progress(source.name, journal.done, journal.done)
        report.links += self._storing.link(related, journal.ids)
        if self.sync and not report.rejected:  # of a file that was read in part, nothing is known to be gone
            report.removed += remove_gone(self.con, source.name, naming.names, self.defaults)

    def _import_batch(
        self, batch: Sequence[Record], naming: Naming, report: FileReport
    ) -> tuple[list[Row], list[str | None], list[Rejected]]:
        """Store a batch and count it; return the rows, their ids, and the records that are none."""
        rows, equal = [], 0
        for record in batch:
            if isinstance(record, Row):
                named, known = naming.named(record)
                equal += known
                rows += [] if known else [named]
                report.warnings.update(record.problems)
            elif isinstance(record, Skipped):
                report.skipped += 1
                report.skip_reasons[record.reason] += 1
                log.info("%s: skipped: %s", record.location, record.reason)
        ids, refused = self._storing.store(rows, report)
        rejected = [record for record in batch if isinstance(record, Rejected)] + refused
        report.read += len(batch)
        report.merged += equal
        report.rejected += len(rejected)
        for record in rejected:
            log.warning("%s: %s", record.location, record.reason)
        return rows, ids, rejected

    def _set_aside(self, report: FileReport, rejected: Sequence[Rejected], source: Source) -> None:
        """Keep records that cannot be imported in a file."""
        if rejected:
            said_by, time_zone = self.con.store.source, source.options.time_zone
            self.aside.add(
                report.name,
                [replace(each, source=said_by or each.source, time_zone=time_zone) for each in rejected],
            )
            self.report.rejected_path = str(self.aside.path)


def _unreadable(source: Source, error: BaseException) -> Rejected:
    if isinstance(error, UnreadableError):
        return Rejected(error.location, error.reason, "")
    if isinstance(error, OSError):
        return Rejected(source.name, f"cannot be read: {error.strerror or first_line(error)}", "")
    if isinstance(error, RecursionError):
        return Rejected(source.name, "is nested too deeply", "")
    return Rejected(source.name, f"cannot be read: {type(error).__name__}: {first_line(error)}", "")


def _rows(records: Iterable[Record]) -> Iterator[Row]:
    return (record for record in records if isinstance(record, Row))


def _next_batch(source: Source, records: Iterator[Record]) -> list[Record]:
    batch: list[Record] = []
    try:
        for record in islice(records, BATCH_ROWS):
            batch.append(record)
    except (UnreadableError, OSError, RecursionError, ValueError) as error:
        batch.append(_unreadable(source, error))
    return batch
