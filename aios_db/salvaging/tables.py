"""The rows of one table: of its newest version, then from wherever else what that lacks can be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aios_db.disk.durable import manifest
from aios_db.salvaging.files import Stretch, read_file, row_count
from aios_db.salvaging.report import Losses
from aios_db.salvaging.versions import DATA, Live, Undeleted, Version, newest_number, readable
from aios_db.schema.errors import OperationalError


@dataclass
class Row:
    """A row that is not whole, or may not be there any more."""

    file: Path
    values: dict[str, Any]
    lost: set[str] = field(default_factory=set)


class SalvagedTable:
    """Reads one table; nothing is written.

    Parameters
    ----------
    path
        The table's directory.
    schema
        The columns wanted.
    losses
        Told which files cannot be read. What rows lack is for the caller to tell, who sees them all.
    """

    def __init__(self, path: Path, schema: pa.Schema, losses: Losses) -> None:
        self._path, self._schema, self._losses = path, schema, losses
        self._broken: dict[int, Row] = {}
        self._tried: set[Path] = set()
        self._doubtful: list[Undeleted] = []

    def rows(self) -> Iterator[tuple[Path, pa.Table] | Row]:
        """Yield whole rows as tables, each with its file, then those that lack something.

        A row may come again, the better copy first.
        """
        versions = readable(self._path)
        newest = next(versions, None)
        wanted = newest_number(self._path)
        behind = newest is None or newest.number != wanted
        if newest is None:
            self._losses.file(
                self._path, "no version of the table can be read; rows are taken from its files"
            )
        elif wanted is not None and behind:
            self._losses.file(
                self._path / manifest(wanted),
                f"cannot be read, or was never written to its end; version {newest.number} is the newest "
                "that can, and what was changed or forgotten after it may be as before",
            )
        referenced: set[Path] = set()
        if newest is None or behind:  # rows that only lost versions had are newer than those that follow
            older = list(versions)
            referenced = set().union(*(each.files for each in [*([newest] if newest else []), *older]))
            yield from self._unreferenced(referenced)
            versions = iter(older)
        if newest is not None:
            yield from self._newest(newest)
        if self._broken or self._doubtful:
            yield from self._mended(versions, referenced if behind else None, newest)

    def _newest(self, version: Version) -> Iterator[tuple[Path, pa.Table]]:
        for fragment in version.fragments():
            self._tried.update(fragment.files)
            if isinstance(fragment, Undeleted):
                self._doubtful.append(fragment)
                continue
            ids = dict(zip(fragment.offsets.tolist(), fragment.row_ids.tolist(), strict=True))
            for stretch in _stretches(fragment.files, self._schema, fragment.count):
                offsets = range(stretch.start, stretch.start + len(stretch.rows))
                live = np.isin(np.arange(offsets.start, offsets.stop), fragment.offsets)
                if not stretch.lost:
                    yield fragment.files[0], stretch.rows.filter(pa.array(live))
                    continue
                whole = live.copy()
                for number in np.flatnonzero(live).tolist():
                    lost = {name for name, gone in stretch.lost.items() if gone[number]}
                    if lost:
                        whole[number] = False
                        values = stretch.rows.slice(number, 1).to_pylist()[0]
                        self._broken[ids[offsets[number]]] = Row(fragment.files[0], values, lost)
                yield fragment.files[0], stretch.rows.filter(pa.array(whole))

    def _mended(
        self, versions: Iterator[Version], referenced: set[Path] | None, newest: Version | None
    ) -> Iterator[tuple[Path, pa.Table] | Row]:
        """Yield the rows that the newest version cannot give as they are, as whole as they are to be had."""
        seen = set(newest.files) if newest else set()
        for version in versions:
            seen |= version.files
            for fragment in version.fragments():
                if isinstance(fragment, Live) and not self._tried.issuperset(fragment.files):
                    self._fill(fragment)
                    self._tried.update(fragment.files)
        for doubtful in self._doubtful:
            if doubtful.deletions is not None:
                why = "cannot be read: memories or links that were deleted may be back"
                self._losses.file(doubtful.deletions, why)
            yield from self._of_files(doubtful.files, doubtful.count)
        if referenced is None and any(row.lost for row in self._broken.values()):
            yield from self._unreferenced(seen)
        yield from self._broken.values()

    def _fill(self, fragment: Live) -> None:
        """Take lost values from an older version's copy of their row."""
        wanted = np.isin(fragment.row_ids, np.fromiter(self._broken, np.int64, len(self._broken)))
        if not wanted.any():
            return
        at = dict(zip(fragment.offsets[wanted].tolist(), fragment.row_ids[wanted].tolist(), strict=True))
        for stretch in _stretches(fragment.files, self._schema, fragment.count):
            for number in range(len(stretch.rows)):
                row = self._broken.get(at.get(stretch.start + number, -1))
                if row is None or not row.lost:
                    continue
                values = stretch.rows.slice(number, 1).to_pylist()[0]
                for name in list(row.lost):
                    if name not in stretch.lost or not stretch.lost[name][number]:
                        row.values[name] = values[name]
                        row.lost.discard(name)

    def _unreferenced(self, referenced: set[Path]) -> Iterator[tuple[Path, pa.Table] | Row]:
        """Yield the rows of files that no version that can be read names, the newest file first."""
        files = set((self._path / DATA).glob("*.lance")) - referenced - self._tried
        for path in sorted(files, key=lambda each: (-each.stat().st_mtime_ns, each.name)):
            self._tried.add(path)
            try:
                count = row_count(path)
            except OperationalError:
                self._losses.file(path, "cannot be read")
                continue
            why = "belongs to no version that can be read: what was forgotten may be among its rows"
            self._losses.file(path, why)
            yield from self._of_files((path,), count)

    def _of_files(self, files: tuple[Path, ...], count: int) -> Iterator[tuple[Path, pa.Table] | Row]:
        for stretch in _stretches(files, self._schema, count):
            if not stretch.lost:
                yield files[0], stretch.rows
                continue
            for number, values in enumerate(stretch.rows.to_pylist()):
                yield Row(files[0], values, {name for name, gone in stretch.lost.items() if gone[number]})


def _stretches(files: tuple[Path, ...], schema: pa.Schema, count: int) -> Iterator[Stretch]:
    """Yield the rows of a fragment, whose columns may lie in several files."""
    if len(files) == 1:
        yield from read_file(files[0], schema, count)
        return
    for parts in zip(*(read_file(path, schema, count) for path in files), strict=True):
        rows, lost = parts[0].rows, dict(parts[0].lost)
        for part in parts[1:]:
            for at, name in enumerate(schema.names):
                if part.rows[name].null_count < len(part.rows) and name not in part.lost:
                    rows = rows.set_column(at, name, part.rows[name])
                    lost.pop(name, None)
        yield Stretch(parts[0].start, rows, lost)
