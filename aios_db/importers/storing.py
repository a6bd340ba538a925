"""Storing the rows of files: what is new or changed, in batches that one bad row does not hold back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from aios_db.importers.base import (
    Rejected,
    Row,
    first_line,
    shorten,
)
from aios_db.importers.media import Within
from aios_db.importers.replacing import is_unchanged, stored
from aios_db.importers.report import FileReport
from aios_db.schema.errors import DataError, IntegrityError, ProgrammingError
from aios_db.store.rows import normalise
from aios_db.store.tables import table_from
from aios_db.store.turns import Turns

if TYPE_CHECKING:
    from aios_db.connection import Connection


BATCH_ROWS = 512
RELATED_WEIGHT = 0.5  # a relation the source states; how strong, it does not say


class Storing:
    """What one call of `import_files` writes into a database."""

    def __init__(self, con: Connection) -> None:
        import uuid_utils

        self.con = con
        self.within = Within()
        """Where files lie that rows name and that are read."""
        self._begun = str(uuid_utils.uuid7())  # ids are made in the order of time
        self.begin_file(())

    def begin_file(self, done: Sequence[Row]) -> None:
        """Begin a file, of which an earlier run stored the rows ``done``.

        Equal turns are counted through the file: it is stored in batches, and is one transcript.
        """
        self.turns = Turns()
        self._count_turns(done)

    def store(self, rows: Sequence[Row], report: FileReport) -> tuple[list[str | None], list[Rejected]]:
        """Store what is new or changed; return ids, None for a row the database refuses, and the refused."""
        before = stored(self.con, rows)
        ids: list[str | None] = [memory["memory_id"] if memory else None for memory in before]
        changed = [
            place
            for place, (row, memory) in enumerate(zip(rows, before, strict=True))
            if memory is None or not is_unchanged(memory, row.fields)
        ]
        report.merged += len(rows) - len(changed)
        remembered, refused = self._remember([rows[place] for place in changed], report)
        for place, memory_id in zip(changed, remembered, strict=True):
            ids[place] = memory_id
            if memory_id is not None and before[place] is not None:
                report.replaced += 1
            elif memory_id is not None and memory_id > self._begun:
                report.stored += 1
            elif memory_id is not None:
                report.merged += 1  # a memory of its content that had no name
        return ids, refused

    def _remember(self, rows: Sequence[Row], report: FileReport) -> tuple[list[str | None], list[Rejected]]:
        """Write rows and return their ids, None for a row the database refuses, and the refused."""
        if not rows:
            return [], []
        try:
            given = table_from([row.fields for row in rows])
            ids = self.con.store.remember(given, turns=self.turns, entry=self.con.entry, reach=self.within)
            return [*ids], []
        except (DataError, IntegrityError, ProgrammingError) as error:
            if len(rows) > 1:  # One bad row must not hold back the batch: halve until it stands alone.
                middle = len(rows) // 2
                left, refused_left = self._remember(rows[:middle], report)
                right, refused_right = self._remember(rows[middle:], report)
                return left + right, refused_left + refused_right
            (row,) = rows
            if "text_embedding" in row.fields:  # of another model: the text is embedded anew
                report.warnings["text_embedding is not of this database's model; the text was embedded"] += 1
                fields = {name: value for name, value in row.fields.items() if name != "text_embedding"}
                return self._remember([replace(row, fields=fields)], report)
            reason = first_line(error).removeprefix("row 0: ")
            source = row.fields.get("source")
            return [None], [Rejected(row.location, reason, shorten(row.fields), row.progress, source)]

    def _count_turns(self, rows: Sequence[Row]) -> None:
        """Count the turns that an earlier run stored; what the database refused was none."""
        for start in range(0, len(rows), BATCH_ROWS):
            batch = rows[start : start + BATCH_ROWS]
            try:
                given = table_from([row.fields for row in batch])
                self.turns.skip(normalise(given, self.con.store.dimension))
            except (DataError, ProgrammingError):
                if len(batch) > 1:
                    for row in batch:
                        self._count_turns([row])

    def link(self, related: Sequence[tuple[str, tuple[str, ...]]], ids: Mapping[str, str]) -> int:
        """Link rows that name each other by keys, whose memories ``ids`` has; return how many links."""
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
        return self.con.store.link(pa.Table.from_pylist(links)) if links else 0
