"""Rows of `memories` as they come from the files, made into memories that an import takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import uuid_utils

from aios_db.exports.layout import memory_columns
from aios_db.salvaging.report import Losses
from aios_db.salvaging.tables import Row
from aios_db.schema.errors import DataError
from aios_db.schema.identity import HEX
from aios_db.schema.memories import LIFECYCLE_FIELDS
from aios_db.store.adoptable import checked
from aios_db.store.rows import DEFAULTS
from aios_db.store.short_hashes import row_with_whole, with_whole

LINKS = "association_links"
_DERIVED = {LINKS, "modalities"}
_OFF = 1e-3  # greatest distance of a vector's length from 1
_CHANGED = (
    "the content is not what its content_hash says: it was changed outside of aios_db; it is kept as it is, "
)
_VECTOR = "and its vector is made anew when it is imported"
_GIVEN = "and so is its vector, which was given with the content before"
_NO_VECTOR = "and has no vector"


class SalvagedMemories:
    """Yields each memory once.

    Parameters
    ----------
    dimension
        Length of a vector.
    losses
        Told what each row lacks.
    """

    def __init__(self, dimension: int, losses: Losses) -> None:
        self._schema = memory_columns(dimension)
        self._losses = losses
        self._repairs = {
            "metadata": None, "external_id": None, "text_embedding": None, "occurred_at": None, "times": None,
            "derived_from": None, "media_type": None, "access_count": 0, "occurrences": 1, "content_hash": "",
            **{each.name: None for each in LIFECYCLE_FIELDS if each.nullable},
            **DEFAULTS,
        }  # fmt: skip
        self.ids: set[str] = set()
        self.links: list[dict[str, Any]] = []
        """Those that the memories themselves name; the table of links has them with their evidence."""

    def batches(self, rows: Iterable[tuple[Path, pa.Table] | Row]) -> Iterator[pa.RecordBatch]:
        """Yield memories in the columns of an export."""
        for given in rows:
            if isinstance(given, Row):
                made = self._one(given)
                tables = [] if made is None else [made]
            else:
                tables = list(self._whole(*given))
            for table in tables:
                arrays = [table[each.name].combine_chunks() for each in self._schema]
                yield pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _whole(self, file: Path, rows: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows of a table at once where nothing is wrong with them, else one by one."""
        rows = with_whole(rows)
        ids = rows["memory_id"].to_pylist()
        if not self.ids.isdisjoint(ids) or len(set(ids)) < len(ids):
            first = {each: number for number, each in reversed(list(enumerate(ids)))}
            chosen = [number for each, number in first.items() if each not in self.ids]
            rows = rows.take(pa.array(chosen, pa.int64()))
        if not len(rows):
            return
        try:
            made = checked(rows.select(self._schema.names))
            good = self._in_order(made)
        except DataError:
            good = False
        if good:
            yield self._note(file, rows, made)
            return
        for values in rows.to_pylist():
            if (one := self._one(Row(file, values))) is not None:
                yield one

    def _one(self, row: Row) -> pa.Table | None:
        """Return a row with what it lacks replaced, or None when it has no content, or came already."""
        values, lost = row_with_whole(row.values), row.lost - _DERIVED
        if not _is_id(values["memory_id"]):
            lost.add("memory_id")
            values["memory_id"] = str(uuid_utils.uuid7())
        if values["memory_id"] in self.ids:
            return None
        for each in self._schema:
            if values[each.name] is None and not each.nullable:
                values[each.name] = self._default(each.name, values["memory_id"])
        found = self._repaired(values, lost)
        if found is None:
            self._losses.row(row.file, (), "nothing of the content can be read")
            return None
        table, made = found
        if lost:
            again = "; vectors are made anew when it is imported" if "text_embedding" in lost else ""
            self._losses.row(row.file, lost, f"cannot be read{again}")
        return self._note(row.file, table, made, compare=not lost)

    def _repaired(self, values: dict[str, Any], lost: set[str]) -> tuple[pa.Table, pa.Table] | None:
        """Return a row as given and as an import makes it, with as few values replaced as need be."""
        if (made := self._made(values)) is not None:
            return made
        for name, instead in self._repairs.items():
            if (made := self._made({**values, name: instead})) is not None:
                lost.add(name)
                return made
        lost.update(name for name, instead in self._repairs.items() if values[name] != instead)
        return self._made({**values, **self._repairs})

    def _made(self, values: dict[str, Any]) -> tuple[pa.Table, pa.Table] | None:
        plain = pa.schema([pa.field(each.name, each.type) for each in self._schema])
        try:
            table = pa.Table.from_pylist([values], plain)
            made = checked(table)
        except (DataError, pa.ArrowException, ValueError, TypeError, OverflowError):
            return None
        table = table.append_column(LINKS, pa.array([values.get(LINKS) or []]))
        return (table, made) if self._in_order(made) else None

    def _in_order(self, rows: pa.Table) -> bool:
        """Tell whether vectors are of unit length, and metadata JSON objects, which an import trusts in."""
        vectors = rows["text_embedding"].combine_chunks()
        given = vectors.flatten().to_numpy(zero_copy_only=False)
        if len(given):
            lengths = np.linalg.norm(given.reshape(-1, vectors.type.list_size).astype(np.float64), axis=1)
            if not (np.abs(lengths - 1) <= _OFF).all():
                return False
        return all(each is None or _is_object(each) for each in rows["metadata"].to_pylist())

    def _note(self, file: Path, given: pa.Table, made: pa.Table, *, compare: bool = True) -> pa.Table:
        """Keep what the links need to know of rows, and report content that was changed.

        Returns
        -------
        pyarrow.Table
            The rows, without the vectors that weights made of another content.
        """
        self.ids.update(made["memory_id"].to_pylist())
        for memory_id, links in zip(made["memory_id"].to_pylist(), given[LINKS].to_pylist(), strict=True):
            self.links.extend({"source_id": memory_id, **each} for each in links or ())
        if not compare:
            return made
        before, after = (pc.utf8_slice_codeunits(each["content_hash"], 0, HEX) for each in (given, made))
        changed = pc.not_equal(before, after)
        if not pc.any(changed).as_py():
            return made
        computed = pc.and_(changed, made["text_weight_version"].is_valid())
        for row in made.select(["text_embedding", "text_weight_version"]).filter(changed).to_pylist():
            version, vector = row["text_weight_version"], row["text_embedding"]
            what = _NO_VECTOR if vector is None else _GIVEN if version is None else _VECTOR
            self._losses.row(file, (), _CHANGED + what)
        for name in ("text_embedding", "text_weight_version"):
            column = made[name].combine_chunks()
            kept = pc.if_else(pc.invert(computed), column, pa.scalar(None, column.type))
            made = made.set_column(made.schema.get_field_index(name), made.schema.field(name), kept)
        return made

    def _default(self, name: str, memory_id: str) -> Any:
        if name == "created_at":  # the first 48 bits of a UUIDv7 are its time in milliseconds
            if UUID(memory_id).version == 7:
                return datetime.fromtimestamp((UUID(memory_id).int >> 80) / 1000, timezone.utc)
            return datetime.now(timezone.utc)
        return {"text": "", "modalities": [], **self._repairs}[name]


def _is_id(name: str | None) -> bool:
    try:
        return name is not None and str(UUID(name)) == name
    except ValueError:
        return False


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
