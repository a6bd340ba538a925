"""Consolidations are taken back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from aios_db.lifecycle.log import Consolidation, ConsolidationLog
from aios_db.lifecycle.log_following import about, has_principles
from aios_db.lifecycle.principles import digest
from aios_db.lifecycle.quoting import Quoting
from aios_db.schema.changes import UndoReport
from aios_db.schema.errors import ProgrammingError
from aios_db.store.commit import commit
from aios_db.store.guarding import Guarding
from aios_db.store.relinking import Relinking
from aios_db.store.transaction import LoggedTransaction, Transactions
from aios_db.store.undoing import Undoing

logger = logging.getLogger("aios_db.lifecycle")


class TakingBack:
    """Consolidations are undone, by themselves or as the changes that they were.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may take back what others wrote.
    relinking
        Deletes the links of principles.
    undoing
        Takes other changes back.
    quoting
        Says which sources are short-term again.

    Attributes
    ----------
    log
        The log of consolidations.
    """

    def __init__(
        self, transactions: Transactions, guarding: Guarding, relinking: Relinking, undoing: Undoing,
        quoting: Quoting,
    ) -> None:  # fmt: skip
        self._database, self._transactions, self._guarding = transactions.database, transactions, guarding
        self._relinking, self._undoing, self._quoting = relinking, undoing, quoting
        self.log = ConsolidationLog(self._database)

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
        self._database.check_writable()
        self._guarding.refuse_of_source("undo_consolidation")
        self._database.refresh()
        with self._transactions.writing("reading the consolidations of"):
            self.settle()
        entry = self.log.get(consolidation_id)
        if entry.state != "committed":
            raise ProgrammingError(
                f"consolidation {consolidation_id} is {entry.state}: there is nothing to take back"
            )
        if entry.policy == "delete":
            if entry.change_id is None:
                raise ProgrammingError(
                    f"consolidation {consolidation_id} deleted its sources, and storage.keep_changes is 0"
                )
            return self._undoing.undo(entry.change_id, confirm=confirm)
        doing = "taking back a consolidation of"
        with self._transactions.changing("undo_consolidation", doing) as transaction:
            kept, draft = self._take_back_archived(transaction, entry), transaction.draft
            self.log.write([replace(entry, state="undone", note=_with_kept(entry.note, kept))])
        if kept:
            logger.warning(
                "principles of consolidation %s were edited since, and are kept: %s",
                consolidation_id, ", ".join(kept),
                extra={"event": "principles_kept", "consolidation_id": consolidation_id},
            )  # fmt: skip
        self._transactions.maintain_soon()
        return UndoReport(draft.change_id or None, 0, draft.updated, draft.deleted, draft.links)

    def refuse(self, entry: Consolidation) -> Consolidation:
        """Note in the log that a consolidation was not committed."""
        with self._transactions.writing("writing the log of consolidations of"):
            self.log.write([entry])
        return entry

    def settle(self) -> None:
        """Say in the log what became of consolidations whose process was ended; under the write lock."""
        ended = []
        for each in self.log.rows("state = 'begun'"):
            is_there = has_principles(self._database.snapshot, each)
            ended.append(replace(each, state="committed" if is_there else "broken_off"))
            logger.warning(
                "consolidation %s was broken off by the end of its process: %s", each.consolidation_id,
                "it was committed" if is_there else "nothing of it was written",
                extra={"event": "consolidation_settled", "consolidation_id": each.consolidation_id},
            )  # fmt: skip
        self.log.write(ended)

    # Inside

    def _take_back_archived(self, transaction: LoggedTransaction, entry: Consolidation) -> list[str]:
        """Take the principles out and bring their sources back; return the principles that are kept."""
        now, draft = transaction.snapshot, transaction.draft
        found = now.index.find_ids(entry.principles)
        stored = now.memories._take_rows(
            found[found >= 0].tolist(), columns=["memory_id", "text", "metadata"]
        ).to_pylist()
        kept = [each["memory_id"] for each in stored if not _is_as_made(each, entry.consolidation_id)]
        gone = [each["memory_id"] for each in stored if each["memory_id"] not in kept]
        principles = now.index.find_ids(gone) if gone else np.empty(0, np.int64)
        rows, back = self._quoting.short_again(entry.sources, found[found >= 0])
        transaction.publish(memories=commit(now.memories, None, rows, back, gone=principles))
        draft.updated, draft.deleted = len(rows), len(principles)
        self._relinking.unlink_gone(transaction, pa.array(gone, pa.string()))
        return kept


def _with_kept(note: str | None, kept: Sequence[str]) -> str | None:
    said = [f"edited since, and kept: {', '.join(kept)}"] if kept else []
    return "; ".join([*([note] if note else []), *said]) or None


def _is_as_made(principle: dict[str, str], consolidation_id: str) -> bool:
    """Tell whether nobody has changed the text or the metadata of a principle since it was made."""
    said, made = about(principle), digest(principle["text"])
    same = said.get("consolidation") == consolidation_id and said.get("digest", made) == made
    return bool(same)
