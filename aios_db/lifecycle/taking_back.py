"""The part of `MemoryStore` that takes consolidations back, and whose log follows what becomes of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aios_db.lifecycle.log import Consolidation, ConsolidationLog
from aios_db.lifecycle.principles import KIND, digest
from aios_db.lifecycle.quoting import Quoting
from aios_db.schema.changes import UndoReport
from aios_db.schema.consolidation_log import TABLE
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.sources import CONSOLIDATION
from aios_db.store.change_log import Draft
from aios_db.store.commit import commit
from aios_db.store.reversal import Reversal, Rows

logger = logging.getLogger("aios_db.lifecycle")


class TakingBack(Quoting):
    """Consolidations that are undone, by themselves or with the changes that they were."""

    @property
    def consolidations(self) -> ConsolidationLog:
        """The log of consolidations."""
        return ConsolidationLog(self)  # type: ignore[arg-type]

    def undo_consolidation(self, consolidation_id: str, *, confirm: bool = False) -> UndoReport:
        """Take a consolidation back: its principles go, and its sources are in the short tier again.

        Sources that were deleted come back as they were, as long as the versions from before are kept; those
        that were archived need none. A source that has another tier by now keeps it, and so does one that
        another principle quotes. A principle whose text or metadata was edited since is kept, beside its
        sources; the log says which.

        Raises
        ------
        ProgrammingError
            There is no such consolidation, or it is undone already or wrote nothing.
        """
        self._check_writable()
        self._refuse_of_source("undo_consolidation")
        self.refresh()
        with self._writing("reading the consolidations of"):
            self._settle()
        entry = self.consolidations.get(consolidation_id)
        if entry.state != "committed":
            raise ProgrammingError(
                f"consolidation {consolidation_id} is {entry.state}: there is nothing to take back"
            )
        if entry.policy == "delete":
            if entry.change_id is None:
                raise ProgrammingError(
                    f"consolidation {consolidation_id} deleted its sources, and storage.keep_changes is 0"
                )
            return self.undo(entry.change_id, confirm=confirm)
        with self._changing("undo_consolidation", "taking back a consolidation of") as draft:
            kept = self._take_back_archived(entry, draft)
            self.consolidations.write([replace(entry, state="undone", note=_with_kept(entry.note, kept))])
        if kept:
            logger.warning(
                "principles of consolidation %s were edited since, and are kept: %s",
                consolidation_id, ", ".join(kept),
                extra={"event": "principles_kept", "consolidation_id": consolidation_id},
            )  # fmt: skip
        self._maintenance.notify()
        return UndoReport(draft.change_id or None, 0, draft.updated, draft.deleted, draft.links)

    def refuse_consolidation(self, entry: Consolidation) -> Consolidation:
        """Note in the log that a consolidation was not committed."""
        with self._writing("writing the log of consolidations of"):
            self.consolidations.write([entry])
        return entry

    # Inside

    def _take_back(self, found: Reversal, draft: Draft) -> bool:
        """As `Undoing._take_back`; the log says of which consolidations the principles went, or came back."""
        touched = set() if TABLE in self.damaged else self._consolidations_in(found.memories)
        written = super()._take_back(found, draft)
        self.consolidations.write(
            [
                replace(each, state="committed" if self._has_principles(each) else "undone")
                for each in self.consolidations.named(touched)
                if each.state in ("committed", "undone")
            ]
        )
        return written

    def _consolidations_in(self, rows: Rows) -> set[str]:
        """Return which consolidations made the principles among rows that go or come back."""
        columns = ["kind", "source", "metadata"]
        gone = rows.gone[self.index.has(rows.gone, "kind", KIND)] if len(rows.gone) else rows.gone
        going = self.memories._take_rows(gone.tolist(), columns=columns)
        return {
            name
            for row in (*going.to_pylist(), *rows.back.select(columns).to_pylist())
            if row["kind"] == KIND and row["source"] == CONSOLIDATION
            if (name := _about(row).get("consolidation"))
        }

    def _has_principles(self, entry: Consolidation) -> bool:
        return bool((self.index.find_ids(entry.principles) >= 0).any())

    def _erase_beside(self) -> None:
        """Take what is erased out of the log of consolidations."""
        if TABLE not in self.damaged:
            self.consolidations.erase(lambda names: (self.index.find_ids(names) >= 0).tolist())

    def _take_back_archived(self, entry: Consolidation, draft: Draft) -> list[str]:
        """Take the principles out and bring their sources back; return the principles that are kept."""
        found = self.index.find_ids(entry.principles)
        stored = self.memories._take_rows(
            found[found >= 0].tolist(), columns=["memory_id", "text", "metadata"]
        ).to_pylist()
        kept = [each["memory_id"] for each in stored if not _is_as_made(each, entry.consolidation_id)]
        gone = [each["memory_id"] for each in stored if each["memory_id"] not in kept]
        principles = self.index.find_ids(gone) if gone else np.empty(0, np.int64)
        rows, back = self._quoted_by_none_short_again(entry.sources, found[found >= 0])
        self._written(memories_=commit(self.memories, None, rows, back, gone=principles))
        draft.updated, draft.deleted = len(rows), len(principles)
        self._unlink_gone(gone, draft)
        return kept

    def _settle(self) -> None:
        """Say in the log what became of consolidations whose process was ended; under the write lock."""
        ended = []
        for each in self.consolidations.rows("state = 'begun'"):
            is_there = self._has_principles(each)
            ended.append(replace(each, state="committed" if is_there else "broken_off"))
            logger.warning(
                "consolidation %s was broken off by the end of its process: %s", each.consolidation_id,
                "it was committed" if is_there else "nothing of it was written",
                extra={"event": "consolidation_settled", "consolidation_id": each.consolidation_id},
            )  # fmt: skip
        self.consolidations.write(ended)


def _with_kept(note: str | None, kept: Sequence[str]) -> str | None:
    said = [f"edited since, and kept: {', '.join(kept)}"] if kept else []
    return "; ".join([*([note] if note else []), *said]) or None


def _is_as_made(principle: dict[str, str], consolidation_id: str) -> bool:
    """Tell whether nobody has changed the text or the metadata of a principle since it was made."""
    about, made = _about(principle), digest(principle["text"])
    same = about.get("consolidation") == consolidation_id and about.get("digest", made) == made
    return bool(same)


def _about(principle: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a principle."""
    try:
        about = json.loads(principle["metadata"] or "{}")
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}
