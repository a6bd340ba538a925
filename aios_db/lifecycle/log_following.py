"""Logs of memories follow what becomes of them: as changes are undone, and by erasure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aios_db.lifecycle.llm.sent import SentRequests
from aios_db.lifecycle.log import Consolidation, ConsolidationLog
from aios_db.lifecycle.principles import KIND
from aios_db.schema.consolidation_log import TABLE
from aios_db.schema.sources import CONSOLIDATION
from aios_db.store.opened import OpenDatabase
from aios_db.store.reversal import Reversal, Rows
from aios_db.store.snapshot import Snapshot


class LogFollowing:
    """Brings the log of consolidations up to date, under the write lock.

    Parameters
    ----------
    database
        Has the log.
    """

    def __init__(self, database: OpenDatabase) -> None:
        self._damaged, self._log = database.damaged, ConsolidationLog(database)
        self._sent = SentRequests(database.path)

    def taken_back(self, now: Snapshot, found: Reversal) -> Callable[[Snapshot], None]:
        """Return what says, once a reversal is written, whose principles went by it, or came back."""
        touched = set() if TABLE in self._damaged else _consolidations_in(now, found.memories)

        def note(then: Snapshot) -> None:
            self._log.write(
                [
                    replace(each, state="committed" if has_principles(then, each) else "undone")
                    for each in self._log.named(touched)
                    if each.state in ("committed", "undone")
                ]
            )

        return note

    def erased(self, now: Snapshot) -> None:
        """Take what is erased out of the log, and out of the record of what language models were sent."""

        def is_there(names: list[str]) -> list[bool]:
            found: list[bool] = (now.index.find_ids(names) >= 0).tolist()
            return found

        if TABLE not in self._damaged:
            self._log.erase(is_there)
        self._sent.erase(is_there)


def _consolidations_in(now: Snapshot, rows: Rows) -> set[str]:
    """Return which consolidations made the principles among rows that go or come back."""
    columns = ["kind", "source", "metadata"]
    gone = rows.gone[now.index.has(rows.gone, "kind", KIND)] if len(rows.gone) else rows.gone
    going = now.memories._take_rows(gone.tolist(), columns=columns)
    return {
        name
        for row in (*going.to_pylist(), *rows.back.select(columns).to_pylist())
        if row["kind"] == KIND and row["source"] == CONSOLIDATION
        if (name := about(row).get("consolidation"))
    }


def has_principles(now: Snapshot, entry: Consolidation) -> bool:
    """Tell whether principles of a consolidation are there."""
    return bool((now.index.find_ids(entry.principles) >= 0).any())


def about(principle: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a principle."""
    try:
        said = json.loads(principle["metadata"] or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
