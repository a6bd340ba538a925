"""The log of changes: one record per call that changed memories or links."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from aios_db.schema.memories import TIMESTAMP

ERASE, REEMBED = "erase", "reembed"
FINAL = {
    ERASE: "what was erased is in no file any more",
    REEMBED: "it exchanged the vectors of all memories; aios models activate goes back to other weights",
}
"""Why some calls cannot be undone."""
LINKED_OTHERWISE = frozenset({"undo", "restore", "rollback_source", "repair", REEMBED})
"""Calls whose links do not follow from the memories that they write."""


@dataclass(frozen=True)
class ChangeRecord:
    """One call that changed the database: who, when, what and how much, and no memory's content.

    The log has the values in this order, so that a new one stands at the end.
    """

    change_id: int
    """Ascending from 1 in the order of the changes; what `undo` is given."""
    changed_at: datetime
    """When it was begun."""
    call: str
    """``remember``, ``update``, ``forget``, ``erase``, ``link``, ``unlink``, …"""
    statement: str | None
    """The SQL statement that made the call, with ``?`` in the place of each value; None outside of SQL."""
    user_id: str | None
    """Whose connection it was, if it has a scope."""
    agent_id: str | None
    os_user: str
    """The user of the operating system."""
    process_id: int
    program: str
    """The file name of the program that the process runs."""
    added: int | None
    """Memories that are new; None, as the counts that follow, when the call was broken off."""
    updated: int | None
    deleted: int | None
    links: int | None
    """Links made, changed or deleted."""
    memories_before: int
    """Version of the table of memories when the call began."""
    memories_after: int
    links_before: int
    links_after: int
    undoes: int | None
    """Of an `undo`, the change that it took back."""
    first_row: int | None
    """Lance's row id of the first memory that it added; the others follow it."""
    complete: bool
    """False when the call failed, or its process was killed, with a part of it written.

    The next one that writes, or opens the database, brings it to its end where it can."""


@dataclass(frozen=True)
class UndoReport:
    """What `undo` or `restore` wrote; of a dry run, what it would write."""

    change_id: int | None
    """Its own place in the log, by which it can be undone; None when there was nothing to write."""
    added: int
    """Memories that came back."""
    updated: int
    """Memories that are again what they were."""
    deleted: int
    links: int
    """Links that went, came back or changed."""


_TYPES = {"int": pa.int64(), "datetime": TIMESTAMP, "str": pa.string(), "bool": pa.bool_()}
SCHEMA = pa.schema(
    [
        pa.field(name, _TYPES[str(each.type).split(" ")[0]])
        for name, each in ChangeRecord.__dataclass_fields__.items()
    ]
)
