"""Which of the given rows are stored already, and what becomes of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.identity import ANY_TIME, HEX, TIME, any_time_key
from aios_db.schema.memories import SCOPE, WRITABLE
from aios_db.search.answers import Answers
from aios_db.store.changes import differs
from aios_db.store.rows import DEFAULTS, derive
from aios_db.store.turns import external_keys, with_external

_NAMED = ("content_hash", "external_id", *SCOPE)


def find_known(
    memories: lance.LanceDataset,
    index: Answers,
    given: pa.Table,
    contents: Sequence[str],
    *,
    fold: bool = False,
) -> NDArray[np.int64]:
    """Return the row id of the memory that each row is, or -1.

    That is the memory with its ``external_id``, or else, without one, with its content. A row with a name of
    its own is also a memory of its content that has none, which so gets it. Of messages outside of sessions,
    a stored one without a time is any later one of its words, and a given one without is the newest of them.

    Parameters
    ----------
    memories, index
        Level with each other.
    given
        Distinct rows.
    contents
        Their `turns.content_identities`.
    fold
        Times tell nothing apart.
    """
    external = external_keys(given)
    stored = Stored(memories, index)
    rows = stored.exactly(external, contents)
    left = np.flatnonzero(rows < 0)
    if not len(left) or not len(index):
        return rows
    taken = set(rows.tolist())
    described = given.select(["kind", "session_id"]).take(pa.array(left)).to_pylist()
    second = [
        _second_key(contents[place], external[place], message["kind"], message["session_id"], fold=fold)
        for place, message in zip(left.tolist(), described, strict=True)
    ]
    newest_of = np.array([(key or "").startswith(ANY_TIME) for key in second], np.bool_)
    keys = [each or "" for each in second]
    candidates = np.where(newest_of, stored.find(keys, others=True), stored.find(keys))
    for place, key, newest, row in zip(left.tolist(), second, newest_of, candidates.tolist(), strict=True):
        if row < 0 or key is None or row in taken:
            continue
        if stored.has(row, timed=contents[place]) if newest else stored.has(row, content=key, unnamed=True):
            rows[place] = row
            taken.add(row)
    return rows


def _second_key(
    content: str, external: str | None, kind: str, session: str | None, *, fold: bool
) -> str | None:
    if external is not None:
        return content
    if fold or kind != "message" or session is not None:
        return None
    return content[:HEX] if TIME in content else any_time_key(content)


class Stored:
    """What found rows are known by: the index keeps the keys that a memory had before it was changed."""

    def __init__(self, memories: lance.LanceDataset, index: Answers) -> None:
        self._memories, self._index = memories, index
        self._rows: dict[int, dict[str, str | None]] = {}

    def exactly(self, external: Sequence[str | None], contents: Sequence[str]) -> NDArray[np.int64]:
        """Return the row that has each name or, without one, each content hash, or -1."""
        rows = self.find(list(contents))
        named = [place for place, key in enumerate(external) if key]
        if named:
            rows[named] = self.find([external[place] or "" for place in named], others=True)
        for place in np.flatnonzero(rows >= 0).tolist():
            key, row = external[place], int(rows[place])
            if not (self.has(row, external=key) if key else self.has(row, content=contents[place])):
                rows[place] = -1
        return rows

    def find(self, keys: Sequence[str], *, others: bool = False) -> NDArray[np.int64]:
        """Return the row that the index has for each content hash or other key; read what is stored of it."""
        find = self._index.find_other if others else self._index.find_content
        found = find(pa.array(keys, pa.string()))
        unread = [row for row in np.unique(found[found >= 0]).tolist() if row not in self._rows]
        if unread:
            named = self._memories._take_rows(unread, columns=[*_NAMED, "_rowid"])
            rows = named.drop_columns(["_rowid"]).to_pylist()
            self._rows.update(zip(named["_rowid"].to_pylist(), rows, strict=True))
        return found

    def has(
        self,
        row: int,
        *,
        external: str | None = None,
        content: str | None = None,
        timed: str | None = None,
        unnamed: bool = False,
    ) -> bool:
        """Tell whether a row has this name, this content, or this content at any time."""
        stored = self._rows[row]
        if external is not None:
            return external_keys(pa.Table.from_pylist([stored], schema=_SCHEMA))[0] == external
        if unnamed and stored["external_id"] is not None:
            return False
        found = stored["content_hash"] or ""
        if timed is not None:
            return found.startswith(timed[:HEX] + TIME) and stored["session_id"] is None
        return found == content


_SCHEMA = pa.schema([(name, pa.string()) for name in _NAMED])


def become(
    stored: pa.Table, given: pa.Table, contents: Sequence[str], replaced: NDArray[np.bool_]
) -> dict[str, pa.Array]:
    """Return the columns that stored memories have after they are remembered again.

    Parameters
    ----------
    stored, given
        The memories and what is given of each, row by row. ``stored`` may lack columns of which nothing is
        given when no row is replaced.
    contents
        `turns.content_identities` of ``given``.
    replaced
        Rows that become what is given, as a whole; in others a value that is not given stays.
    """
    columns: dict[str, pa.Array] = {}
    for name in (*WRITABLE, "text_weight_version"):
        if name not in stored.column_names:
            continue
        old, new = stored[name].combine_chunks(), given[name].combine_chunks()
        columns[name] = chosen(new, old, new.is_valid())
        if replaced.any() and name not in ("text_embedding", "text_weight_version"):
            whole = pc.fill_null(new, DEFAULTS[name]) if name in DEFAULTS else new
            columns[name] = chosen(whole, columns[name], pa.array(replaced))
    if "text_embedding" in columns:
        _place_vectors(columns, stored, given, replaced)
    if "modalities" in stored.column_names:
        columns["modalities"] = derive(columns)["modalities"]
    external = external_keys(pa.table({name: columns.get(name, given[name]) for name in _KEYED}))
    hashes = with_external(contents, external)
    columns["content_hash"] = pa.array(
        [
            old if TIME in old and new == old[:HEX] and not whole else new
            for old, new, whole in zip(
                stored["content_hash"].to_pylist(), hashes, replaced.tolist(), strict=True
            )
        ],
        pa.string(),
    )
    return columns


_KEYED = ("user_id", "agent_id", "external_id")


def _place_vectors(
    columns: dict[str, pa.Array], stored: pa.Table, given: pa.Table, replaced: NDArray[np.bool_]
) -> None:
    """Take the version of a given vector with it, and no vector of a text that is gone."""
    new = given["text_embedding"].combine_chunks().is_valid()
    if replaced.any():
        other = reworded(stored, given) & replaced
        new = pc.or_(new, pa.array(other))
    for name in ("text_embedding", "text_weight_version"):
        columns[name] = chosen(given[name].combine_chunks(), stored[name].combine_chunks(), new)


def reworded(
    stored: Mapping[str, pa.Array] | pa.Table, given: Mapping[str, pa.Array] | pa.Table
) -> NDArray[np.bool_]:
    """Tell which rows have another title or text, what is embedded."""
    names = ("title", "text")
    return np.logical_or(*(differs(stored[name], given[name]) for name in names))


def chosen(new: pa.Array, old: pa.Array, take_new: pa.Array) -> pa.Array:
    """Return ``new`` where ``take_new``, else ``old``; of any type."""
    count = len(old)
    place = np.where(take_new.to_numpy(zero_copy_only=False), np.arange(count), np.arange(count, 2 * count))
    if (place < count).all():
        return new
    if (place >= count).all():
        return old
    return pa.concat_arrays([new.cast(old.type), old]).take(pa.array(place))
