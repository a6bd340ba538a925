"""`remember`, `update`, `forget`, `erase` and `link` from SQL, one commit per statement."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.sources import SQL
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.protocols import MemoryWriter
from aios_db.udfs.types import BOOLEAN, VARCHAR, VARCHARS
from aios_db.udfs.writing import DeferredWrite


def remember(store: MemoryWriter, rows: pa.StructArray) -> pa.Array:
    """Store memories in one commit and return their ids."""
    columns = dict(zip(rows.type.names, rows.flatten(), strict=True))
    columns |= _media(columns.pop("image"), columns.pop("audio"))
    wordless = pc.and_(columns["text"].is_null(), pc.invert(_given_any(columns)))
    if pc.any(wordless).as_py():
        raise DataError("remember: the text is NULL; give the memory's content")
    given = {name: column for name, column in columns.items() if column.null_count < len(column)}
    return pa.array(store.remember(pa.table(given), append=True, entry=SQL), type=pa.string())


def _media(image: pa.StructArray, audio: pa.StructArray) -> dict[str, pa.Array]:
    """Return a picture and a sound as the columns that they are stored in."""
    (picture, picture_uri), (sound, sound_uri) = image.flatten(), audio.flatten()
    return {"media": picture, "media_uri": picture_uri, "audio": sound, "audio_uri": sound_uri}


def _given_any(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Tell which rows have a picture or a sound."""
    there = [columns[name].is_valid() for name in ("media", "media_uri", "audio", "audio_uri")]
    return pc.or_(pc.or_(there[0], there[1]), pc.or_(there[2], there[3]))


def forget(store: MemoryWriter, calls: pa.StructArray) -> pa.Array:
    """Delete memories in one commit; true for the first mention of each that existed, null for null."""
    memory_ids, confirm = calls.flatten()
    ids = _distinct(memory_ids)
    existed = store.existing(ids)
    store.forget(ids, confirm=all(confirm.to_pylist()))
    return _first_mentions(memory_ids, ids, existed)


def erase(store: MemoryWriter, memory_ids: pa.Array) -> pa.Array:
    """Delete memories from every file; true for the first mention of each that existed, null for null.

    An id that no memory has is asked for, too: it may have been forgotten, and still be in older versions.
    """
    ids = _distinct(memory_ids)
    existed = store.existing(ids)
    if ids:
        store.erase(ids)
    return _first_mentions(memory_ids, ids, existed)


def _distinct(memory_ids: pa.Array) -> list[str]:
    return [each for each in dict.fromkeys(memory_ids.to_pylist()) if each is not None]


def _first_mentions(memory_ids: pa.Array, distinct: list[str], existed: list[bool]) -> pa.Array:
    """Return whether each existed, where it is mentioned first; false at later mentions, null for null."""
    left = dict(zip(distinct, existed, strict=True))
    told = [None if each is None else left.pop(each, False) for each in memory_ids.to_pylist()]
    return pa.array(told, type=pa.bool_())


def link(store: MemoryWriter, rows: pa.StructArray) -> pa.Array:
    """Insert or strengthen links in one commit."""
    columns = dict(zip(rows.type.names, rows.flatten(), strict=True))
    for name, column in columns.items():
        if column.null_count:
            raise DataError(f"link: {name} is NULL; a link needs both ends, a kind and a weight")
    store.link(pa.table(columns))
    return pa.array(np.ones(len(rows), bool))


def remember_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Store the memories of a JSON list of objects in one commit; a list of their ids."""
    rows = _rows(lists, "remember_all", "[{text: 'tea', speaker: 'Ada'}]")
    ids = store.remember(_table(rows), entry=SQL) if rows else []
    return pa.array([[{"memory_id": each} for each in ids]], _IDS)


def try_remember_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Return an id per row that `remember_all` would store: one that no memory has."""
    rows = _rows(lists, "remember_all", "[{text: 'tea', speaker: 'Ada'}]")
    return pa.array([[{"memory_id": str(uuid.uuid4())} for _ in rows]], _IDS)


def update_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Change columns of the memories of a JSON list of objects in one commit; how many there are."""
    rows = _updates(lists)
    return pa.array([[{"updated": store.update(_table(rows)) if rows else 0}]], _UPDATED)


def try_update_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Return how many memories a list names."""
    return pa.array([[{"updated": len({row["memory_id"] for row in _updates(lists)})}]], _UPDATED)


def _updates(lists: pa.Array) -> list[dict[str, Any]]:
    rows = _rows(lists, "update_all", "[{memory_id: '…', tier: 'long'}]")
    if not all(isinstance(row.get("memory_id"), str) for row in rows):
        raise DataError("update_all: each struct needs a memory_id, which says what the others are to change")
    return rows


def forget_all(store: MemoryWriter, lists: pa.Array, confirm: pa.Array) -> pa.Array:
    """Delete the memories of a list in one commit; how many there were."""
    ids = [each for each in _only(lists, "forget_all") or [] if each is not None]
    return pa.array([[{"forgotten": store.forget(ids, confirm=bool(confirm[0].as_py()))}]], _COUNT)


def try_forget_all(store: MemoryWriter, lists: pa.Array, _: pa.Array) -> pa.Array:
    """Return how many memories of a list there are."""
    ids = {each for each in _only(lists, "forget_all") or [] if each is not None}
    return pa.array([[{"forgotten": sum(store.existing(list(ids)))}]], _COUNT)


def erase_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Delete the memories of a list and all that was deleted before from every file; how many there were."""
    ids = [each for each in _only(lists, "erase_all") or [] if each is not None]
    return pa.array([[{"erased": store.erase(ids).memories}]], _ERASED)


def try_erase_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Return how many memories of a list there are."""
    ids = {each for each in _only(lists, "erase_all") or [] if each is not None}
    return pa.array([[{"erased": sum(store.existing(list(ids)))}]], _ERASED)


def link_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Insert or strengthen the links of a JSON list of objects in one commit; how many distinct ones."""
    rows = _rows(lists, "link_all", "[{source_id: '…', target_id: '…'}]")
    return pa.array([[{"linked": store.link(_table(rows)) if rows else 0}]], _LINKED)


def try_link_all(store: MemoryWriter, lists: pa.Array) -> pa.Array:
    """Return how many links a list has."""
    rows = _rows(lists, "link_all", "[{source_id: '…', target_id: '…'}]")
    return pa.array([[{"linked": len({json.dumps(row, sort_keys=True) for row in rows})}]], _LINKED)


def _rows(lists: pa.Array, name: str, example: str) -> list[dict[str, Any]]:
    """Return the structs of the one JSON list."""
    rows = json.loads(_only(lists, name) or "[]")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{name}: give a list of structs whose fields are columns: {name}({example})")
    for row in rows:
        if isinstance(row.get("metadata"), dict):
            row["metadata"] = json.dumps(row["metadata"])
    return rows


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def _only(lists: pa.Array, name: str) -> Any:
    """Return the one list; called per row of a table, it might write some and then fail."""
    if len(lists) != 1:
        raise ProgrammingError(
            f"{name} was called for {len(lists)} rows at once; give it one list: {name}((SELECT list(…)))"
        )
    return lists[0].as_py()


_IDS = pa.list_(pa.struct([("memory_id", pa.string())]))
_UPDATED = pa.list_(pa.struct([("updated", pa.int64())]))
_COUNT = pa.list_(pa.struct([("forgotten", pa.int64())]))
_ERASED = pa.list_(pa.struct([("erased", pa.int64())]))
_LINKED = pa.list_(pa.struct([("linked", pa.int64())]))

DEFERRED = (
    DeferredWrite("remember", "VARCHAR", remember, "FROM remember_all([{text: '…', session_id: '…'}])"),
    DeferredWrite("forget", "BOOLEAN", forget, "FROM forget_all(['…'])"),
    DeferredWrite("erase", "BOOLEAN", erase, "FROM erase_all(['…'])"),
    DeferredWrite("link", "BOOLEAN", link, "FROM link_all([{source_id: '…', target_id: '…'}])"),
)

FUNCTIONS = (
    ScalarFunction(
        "aios_remember_all",
        [VARCHAR, VARCHAR],
        _IDS,
        remember_all,
        trial=try_remember_all,
    ),
    ScalarFunction(
        "aios_update_all",
        [VARCHAR, VARCHAR],
        _UPDATED,
        update_all,
        trial=try_update_all,
    ),
    ScalarFunction(
        "aios_forget_all",
        [VARCHARS, BOOLEAN, VARCHAR],
        _COUNT,
        forget_all,
        trial=try_forget_all,
    ),
    ScalarFunction(
        "aios_erase_all",
        [VARCHARS, VARCHAR],
        _ERASED,
        erase_all,
        trial=try_erase_all,
        at_end=True,  # it removes files that the statement may still read
    ),
    ScalarFunction("aios_link_all", [VARCHAR, VARCHAR], _LINKED, link_all, trial=try_link_all),
)
