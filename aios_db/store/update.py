"""Changing columns of memories by id: what the rows become, and whether they still differ from all others."""

from __future__ import annotations

from collections.abc import Sequence

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.errors import DataError, IntegrityError, ProgrammingError
from aios_db.schema.identity import NUMBER
from aios_db.schema.memories import CODE_FIELD, JOINT_FIELDS, KEY, SCOPE, WRITABLE, memories_schema
from aios_db.search.answers import Answers
from aios_db.store.changes import Change, differs
from aios_db.store.ends import ends
from aios_db.store.given_media import with_given_media
from aios_db.store.known import Stored, reworded
from aios_db.store.rows import (
    DEFAULTS,
    check_lengths,
    check_media,
    check_values,
    coerce,
    derive,
    retyped_media,
)
from aios_db.store.snapshot import Level
from aios_db.store.tables import UPDATABLE, check_columns
from aios_db.store.turns import (
    Turns,
    content_identities,
    external_keys,
    free_number,
    numbered,
    with_external,
)

_IDENTITY = {
    "kind", "title", "text", "speaker", "media", "media_uri", "audio", "audio_uri", "occurred_at",
    "external_id", *SCOPE,
}  # fmt: skip
_VECTOR = ("text_embedding", "text_weight_version")
_JOINT = tuple(each.name for each in JOINT_FIELDS if each.name.startswith("joint_"))
_SEEN = ("title", "text", "text_embedding", "media", "media_uri", "media_type", "audio", "audio_uri")
"""What the joint vector of a memory follows from."""
_NAMED = tuple(name for name in _SEEN if name != "text_embedding")
_READ = (*WRITABLE, *_JOINT, "text_weight_version", "modalities", "content_hash")
_LONGEST_NAME = 80  # characters of what is no memory, in a message
_READ_ONLY = ("times", CODE_FIELD.name)


class Update:
    """New values for columns of some memories.

    Parameters
    ----------
    tables
        Each with ``memory_id`` and the columns that it changes; later ones win.
    dimension
        Length of a given vector.
    most_bytes
        Of a text.

    Raises
    ------
    ProgrammingError, DataError
        As `MemoryStore.update`.
    """

    def __init__(self, tables: Sequence[pa.Table], dimension: int, most_bytes: int) -> None:
        schema = memories_schema(dimension)
        self._parts: list[tuple[list[str], dict[str, pa.Array]]] = []
        for table in tables:
            columns = coerce(_checked(table), schema)
            check_lengths(columns, most_bytes)
            ids = columns.pop(KEY)
            if ids.null_count:
                raise DataError(f"row {ids.is_null().to_pylist().index(True)}: memory_id is NULL")
            for name in DEFAULTS.keys() & columns.keys():
                if columns[name].null_count:
                    row = columns[name].is_null().to_pylist().index(True)
                    raise DataError(f"row {row}: {name} cannot be empty; leave it out to keep what it is")
            if "text" in columns:
                columns["text"] = pc.fill_null(columns["text"], "")
            self._parts.append((ids.to_pylist(), columns))
        self.memory_ids = list(dict.fromkeys(each for ids, _ in self._parts for each in ids))
        self._place = {each: place for place, each in enumerate(self.memory_ids)}
        self._rows = np.empty(0, np.int64)
        self.stored: pa.Table = schema.empty_table()
        self.seen = np.zeros(len(self.memory_ids), np.bool_)
        """Memories of which something changes that their joint vector follows from, since `apply`."""

    def apply(self, now: Level, made: pa.Table | None = None) -> tuple[pa.Table, NDArray[np.bool_]]:
        """Return what the memories become, and which of them need a vector.

        Parameters
        ----------
        now
            The memories.
        made
            What an earlier call returned, with the vectors made since.
        """
        memories, index = now.memories, now.index
        self._rows = index.find_ids(self.memory_ids)
        unknown = [each for each, row in zip(self.memory_ids, self._rows, strict=True) if row < 0]
        if unknown:
            raise ProgrammingError(f"cannot update: no memory {', '.join(unknown[:5])}")
        self.stored = memories._take_rows(self._rows.tolist(), columns=[*_READ, *_READ_ONLY])
        columns = {name: self.stored[name].combine_chunks() for name in _READ}
        brought = np.zeros(len(self.memory_ids), np.bool_)
        seen, retyped = np.zeros((2, len(self.memory_ids)), np.bool_)
        for ids, given in self._parts:
            check_media(given)
            places = np.array([self._place[each] for each in ids], np.int64)
            for name, values in given.items():
                columns[name] = _replaced(columns[name], places, values)
            if not given.keys().isdisjoint(_SEEN):
                seen[places] = True
            if "media_type" not in given and not given.keys().isdisjoint(("media", "media_uri")):
                retyped[places] = True
            if "text_embedding" in given:
                brought[places] = True
                columns["text_weight_version"] = _cleared(columns["text_weight_version"], brought)
        columns["media_type"] = retyped_media(columns, retyped)
        check_values(columns)
        self._check_superseded(columns, memories, index)
        wanting = (reworded(self.stored, columns) | self._is_promoted(columns["tier"])) & ~brought
        for name in _VECTOR:
            columns[name] = _cleared(columns[name], wanting)
        if made is not None:
            usable = wanting & ~reworded(made, columns)
            for name in _VECTOR:
                places = np.flatnonzero(usable)
                values = made[name].combine_chunks().take(pa.array(places))
                columns[name] = _replaced(columns[name], places, values)
        self.seen = seen
        for name in _JOINT:
            columns[name] = _cleared(columns[name], seen)
        if made is not None:
            other = [differs(made[name].combine_chunks(), columns[name]) for name in _NAMED]
            places = np.flatnonzero(seen & ~np.logical_or.reduce(other))
            for name in _JOINT:
                values = made[name].combine_chunks().take(pa.array(places))
                columns[name] = _replaced(columns[name], places, values)
        derived = derive(columns)
        columns["modalities"] = derived["modalities"]
        table = pa.table({**columns, "content_hash": derived["content_hash"]})
        hashes = self._identities(table, index, Stored(memories, index))
        return table.set_column(table.schema.get_field_index("content_hash"), "content_hash", hashes), wanting

    def _check_superseded(
        self, columns: dict[str, pa.Array], memories: lance.LanceDataset, index: Answers
    ) -> None:
        """Fill ``valid_until`` of what is superseded from now on; refuse what cannot supersede."""
        given = np.zeros(len(self.memory_ids), np.bool_)
        for ids, part in self._parts:
            if "superseded_by" in part:
                given[[self._place[each] for each in ids]] = True
        if not given.any():
            return
        named = _cleared(columns["superseded_by"], ~given)
        columns["valid_until"], unknown = ends(named, columns["valid_until"], memories, index)
        for place, name in enumerate(named.to_pylist()):
            if name == self.memory_ids[place]:
                raise DataError(f"superseded_by is {name}: a memory cannot supersede itself")
            if unknown[place]:
                shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
                raise ProgrammingError(f"cannot update: superseded_by is {shown!r}, which is no memory")

    def with_new_files(self, table: pa.Table) -> pa.Table:
        """Return what `apply` returned without the paths of files that the update does not give."""
        for name in ("media_uri", "audio_uri"):
            kept = np.ones(len(table), np.bool_)
            for ids, given in self._parts:
                if name in given:
                    kept[[self._place[each] for each in ids]] = False
            column = _cleared(table[name].combine_chunks(), kept)
            table = table.set_column(table.schema.get_field_index(name), name, column)
        return table

    def _is_promoted(self, tiers: pa.Array) -> NDArray[np.bool_]:
        """Tell which compressed memories come into another tier, and are to have their vector again."""
        leaves = pc.not_equal(self.stored["tier"], tiers)
        found: NDArray[np.bool_] = pc.and_(leaves, self.stored[CODE_FIELD.name].is_valid()).to_numpy()
        return found

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """Of the memories, since `apply`."""
        return self._rows

    def unpacked(self, table: pa.Table) -> list[str]:
        """Return the memories that were compressed and, as they become ``table``, are no longer."""
        packed = pc.and_(table["text_embedding"].is_null(), table["text_weight_version"].is_valid())
        found = pc.and_(self.stored[CODE_FIELD.name].is_valid(), pc.invert(packed)).to_pylist()
        return [each for each, is_unpacked in zip(self.memory_ids, found, strict=True) if is_unpacked]

    def change(self, table: pa.Table) -> Change:
        """Return what `apply`, with its vectors, changes."""
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        return Change.between(self._rows, self.stored, columns)

    def _identities(self, table: pa.Table, index: Answers, stored: Stored) -> pa.Array:
        """Return the content hashes, or raise `IntegrityError` when another memory has one of them."""
        old = self.stored["content_hash"].to_pylist()
        other = np.logical_or.reduce(
            [differs(self.stored[name], table[name]) for name in table.column_names if name in _IDENTITY]
        )
        if not other.any():
            return pa.array(old, pa.string())
        external = external_keys(table)
        hashes = table["content_hash"].to_pylist()
        contents = content_identities(table, Turns(), append=False, fold=False)
        counted = pc.and_(pc.equal(table["kind"], "message"), table["session_id"].is_valid()).to_pylist()
        is_folded = self.stored["times"].is_valid().to_pylist()
        new = set(old)
        for row in np.flatnonzero(other).tolist():
            turn = contents[row].partition(NUMBER)[0]
            if external[row] is not None:
                contents[row] = with_external([hashes[row]], [external[row]])[0]
            elif is_folded[row]:
                contents[row] = hashes[row]
            elif turn == old[row].partition(NUMBER)[0]:
                contents[row] = old[row]
            elif counted[row]:
                contents[row] = numbered(
                    turn, free_number(turn, lambda key: key in new or bool(index.find_content([key])[0] >= 0))
                )
            new.add(contents[row])
        contents = [new if changed else was for new, was, changed in zip(contents, old, other, strict=True)]
        self._refuse_equal(external, contents, other, stored)
        return pa.array(contents, pa.string())

    def _refuse_equal(
        self,
        external: Sequence[str | None],
        contents: Sequence[str],
        other: NDArray[np.bool_],
        stored: Stored,
    ) -> None:
        own = {int(row): place for place, row in enumerate(self._rows)}
        found = stored.exactly(external, contents)
        seen: dict[str, int] = {}
        for place, row in enumerate(found.tolist()):
            key = external[place] or contents[place]
            twin = seen.setdefault(key, place)
            if twin != place:
                raise IntegrityError(
                    f"cannot update: memories {self.memory_ids[twin]} and {self.memory_ids[place]} would be "
                    f"the same; {_way_out(external[place])}"
                )
            if other[place] and row >= 0 and row not in own:
                raise IntegrityError(
                    f"cannot update: memory {self.memory_ids[place]} would be the same as another that is "
                    f"stored; {_way_out(external[place])}"
                )


def _way_out(external: str | None) -> str:
    if external is not None:
        return "an external_id is unique within user and agent: forget the other, or give another external_id"
    return "forget one of them, or tell them apart by session_id, occurred_at or external_id"


def _checked(table: pa.Table) -> pa.Table:
    table = with_given_media(table, changes=True)
    check_columns(table.column_names, UPDATABLE)
    if KEY not in table.column_names:
        raise ProgrammingError(f"update needs the column {KEY}, to know what to change")
    return table


def _replaced(column: pa.Array, places: NDArray[np.int64], values: pa.Array) -> pa.Array:
    """Return a column with other values at some places; the last one where a place comes twice."""
    index = np.arange(len(column))
    for number, place in enumerate(places.tolist()):
        index[place] = len(column) + number
    return pa.concat_arrays([column, values.cast(column.type)]).take(pa.array(index))


def _cleared(column: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
    """Return a column with NULL at some places."""
    return column.take(pa.array(np.arange(len(column)), mask=where)) if where.any() else column
