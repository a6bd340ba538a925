"""What is stored of the rows of a file already: a row read again is unchanged, or replaces its memory."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from aios_db.importers.base import Row

if TYPE_CHECKING:
    from aios_db.connection import Connection
    from aios_db.store.snapshot import Level

_CONTENT = (
    "kind", "title", "text", "media", "media_uri", "audio", "audio_uri", "session_id", "speaker",
    "occurred_at", "source", "derived_from", "metadata",
)  # fmt: skip
# What the user, or the database itself, may have changed since: only a value in the file counts.
_MAY_DIFFER = (
    "media_type", "tier", "importance", "trust", "valid_until", "superseded_by", "expires_at", "pinned",
)  # fmt: skip
_SAME = ("kind", "title", "text", "speaker", "media_uri", "audio_uri", "session_id", "user_id", "agent_id")


class Naming:
    """Gives the rows of one file their names (``external_id``), and notices equal rows."""

    def __init__(self, source: str, defaults: Mapping[str, str]) -> None:
        self._source = source
        self._defaults = defaults
        self._places: Counter[str] = Counter()
        self._first: dict[bytes, str] = {}
        self.names: set[str] = set()
        """The names given so far."""

    def named(self, row: Row) -> tuple[Row, bool]:
        """Return a row with its name and the defaults, and whether an equal row of the file came before.

        Messages are never equal: "yes" may be said twice.
        """
        fields = {**self._defaults, **row.fields}
        if fields.get("kind") != "message" and "speaker" not in fields:
            content = json.dumps([fields.get(name) for name in _SAME], default=str).encode("utf-8", "replace")
            digest = blake2b(content, digest_size=16).digest()
            if digest in self._first:
                return replace(row, fields={**fields, "external_id": self._first[digest]}), True
        else:
            digest = b""
        name = fields.get("external_id")
        if name is None:
            place = row.place or row.location
            self._places[place] += 1
            count = self._places[place]
            name = f"{self._source}#{place}" + (f"~{count}" if count > 1 else "")
        if digest:
            self._first[digest] = name
        self.names.add(name)
        return replace(row, fields={**fields, "external_id": name}), False


def stored(con: Connection, rows: Sequence[Row]) -> list[dict[str, Any] | None]:
    """Return of each row the memory that has its name, with the columns that tell whether it changed."""
    import pyarrow as pa

    from aios_db.schema.identity import external_key

    if not rows:
        return []
    scopes = [
        (row.fields.get("user_id"), row.fields.get("agent_id"), str(row.fields["external_id"]))
        for row in rows
    ]
    keys = pa.array([external_key(*each) for each in scopes], pa.string())
    columns = ["memory_id", "external_id", "user_id", "agent_id", *_CONTENT, *_MAY_DIFFER, "_rowid"]

    def read(now: Level) -> tuple[list[int], list[dict[str, Any]]]:
        found = now.index.find_other(keys)
        wanted = sorted(set(found[found >= 0].tolist()))
        return found.tolist(), now.memories._take_rows(wanted, columns=columns).to_pylist()

    found, known = con.store.read(read)
    memories = {row["_rowid"]: row for row in known}
    # The index keeps the names that a memory had before it was changed.
    return [
        memory
        if (memory := memories.get(row))
        and (memory["user_id"], memory["agent_id"], memory["external_id"]) == scope
        else None
        for row, scope in zip(found, scopes, strict=True)
    ]


def is_unchanged(memory: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Return whether a memory says what the fields of a row say."""
    kind = fields.get("kind") or "message"
    content = all(
        _equal(name, memory[name], kind if name == "kind" else fields.get(name)) for name in _CONTENT
    )
    return content and all(_equal(name, memory[name], fields[name]) for name in _MAY_DIFFER if name in fields)


def _equal(name: str, old: Any, new: Any) -> bool:
    if name == "metadata" and old and new:
        return bool(json.loads(old) == json.loads(new))
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=1e-6)
    return bool(old == new) or (not old and not new)


def remove_gone(con: Connection, source: str, names: set[str], defaults: Mapping[str, str]) -> int:
    """Forget the memories of a source whose rows are gone, in the scope of the import; return how many."""
    prefix = f"{source}#"
    conditions = [
        "starts_with(external_id, ?)",
        *(f"{column} = ?" for column in defaults if column in _SCOPE),
    ]
    sql = "SELECT memory_id, external_id FROM memories WHERE " + " AND ".join(conditions)  # noqa: S608
    given = [prefix, *(value for column, value in defaults.items() if column in _SCOPE)]
    rows = con.cursor().execute(sql, given).fetchall()
    gone = [memory_id for memory_id, name in rows if name not in names]
    return con.forget(gone, confirm=True) if gone else 0


_SCOPE = ("user_id", "agent_id")
