"""Taking changes back: one of the log, or all since a version. It is a change itself, and can be undone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import uuid4

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.observing.recorder import measured
from aios_db.schema.changes import FINAL, ChangeRecord, UndoReport
from aios_db.schema.errors import OperationalError, ProgrammingError
from aios_db.store.commit import exchange
from aios_db.store.confirming import check_confirmed
from aios_db.store.differences import Difference, difference, row_ids, rows_at
from aios_db.store.guarding import Guarding
from aios_db.store.kept import kept
from aios_db.store.opened import OpenDatabase
from aios_db.store.owed import OwedLinks, forget_owed, owed_links
from aios_db.store.reversal import Reversal, conflicts, evidence, reversal
from aios_db.store.snapshot import Level, Snapshot
from aios_db.store.transaction import LoggedTransaction, Transaction, Transactions
from aios_db.store.verifying import verify_links, verify_memories

logger = logging.getLogger("aios_db.store")

_VECTOR = "text_embedding"


class Follower(Protocol):
    """What follows memories as changes are taken back."""

    def taken_back(self, now: Snapshot, found: Reversal) -> Callable[[Snapshot], None]:
        """Return what is called with the snapshot once a reversal is written."""
        ...


class Undoing:
    """Changes are taken back.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may bring back what others wrote.
    follower
        What follows.
    """

    def __init__(self, transactions: Transactions, guarding: Guarding, follower: Follower) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._guarding, self._follower = guarding, follower
        self._texts, self.metrics = self._database.texts, self._database.metrics

    @measured("undo")
    def undo(self, change_id: int, *, dry_run: bool = False, confirm: bool = False) -> UndoReport:
        """Bring the rows that a change wrote back to what they were before it.

        Memories that it deleted come back with their ids, vectors, metadata, times and links; those that it
        stored go; those that it changed have their former values. Vectors of weights that are no longer in
        use are made anew.

        Parameters
        ----------
        change_id
            As in `changes`; with a scope, one of its own.
        dry_run
            Only say what would be written; a store that is read-only can say that, too.
        confirm
            Delete more than `storage.confirm_forget` memories, too.

        Raises
        ------
        NotSupportedError
            All that this store writes has one source, and a change may bring back that of another.
        ProgrammingError
            There is no such change, it cannot be undone, or a later change touched what it wrote: the message
            names the memories. Or it would delete many, and ``confirm`` is not set. Nothing is written then.
        OperationalError
            The versions of the tables from before it are kept no longer.
        """
        self._guarding.refuse_of_source("undo")
        if dry_run:
            return self._look(lambda now: _report(self._undoing(now, change_id), None))
        self._database.check_writable()
        with (
            self._database.compacting(),
            self._transactions.changing(
                "undo", "undoing a change of", undoes=change_id, at_end=self._owes_nothing
            ) as transaction,
        ):
            found = self._undoing(transaction.snapshot, change_id)
            check_confirmed(found.deleted, self._database.config.storage, _how("undo"), confirm=confirm)
            written = self._take_back(transaction, found)
        self._transactions.maintain_soon()
        return _report(found, transaction.draft.change_id if written else None)

    @measured("restore")
    def restore(
        self, version: int | None, time: int | None, *, dry_run: bool = False, confirm: bool = False
    ) -> UndoReport:
        """Bring memories and links back to a version of the memories, or to a moment.

        They are written as a new version: what was written since can be brought back by undoing this.

        Parameters
        ----------
        version, time
            One of both; the time in microseconds since 1970.
        dry_run, confirm
            As for `undo`.

        Raises
        ------
        NotSupportedError
            The connection has a scope, or writes as one source.
        ProgrammingError
            There never was such a version, or it would delete many, and ``confirm`` is not set.
        OperationalError
            It is kept no longer.
        """
        self._database.scope.refuse("restore")
        self._guarding.refuse_of_source("restore")
        if dry_run:
            return self._look(lambda now: _report(self._restoring(now, version, time), None))
        self._database.check_writable()
        with (
            self._database.compacting(),
            self._transactions.changing(
                "restore", "restoring an earlier version of", at_end=self._owes_nothing
            ) as transaction,
        ):
            found = self._restoring(transaction.snapshot, version, time)
            check_confirmed(found.deleted, self._database.config.storage, _how("restore"), confirm=confirm)
            written = self._take_back(transaction, found)
        self._transactions.maintain_soon()
        return _report(found, transaction.draft.change_id if written else None)

    # Inside; under the write lock, with nobody removing versions

    def _look(self, how: Callable[[Level], UndoReport]) -> UndoReport:
        """Read the newest version; as far as this store may write, nobody else changes anything meanwhile."""
        if self._database.read_only:
            return self._database.read(how)
        with self._database.compacting(), self._transactions.writing("reading") as transaction:
            return how(transaction.snapshot)

    def _restoring(self, now: Level, version: int | None, time: int | None) -> Reversal:
        then = self._database.history.tables(version, time)
        memories, links = (difference(old, new) for old, new in zip(then, now.tables, strict=True))
        return _verified(reversal(memories, links, now.tables))

    def _undoing(self, now: Level, change_id: int) -> Reversal:
        records, scope = self._transactions.changes(), self._database.scope
        change = next((each for each in records if each.change_id == change_id), None)
        if change is None:
            raise ProgrammingError(_unknown(change_id, records))
        if change.call in FINAL:
            raise ProgrammingError(f"change {change_id} cannot be undone: {FINAL[change.call]}")
        memories, links = _done_by(now, change)
        later = [each for each in self._database.change_log.records() if each.change_id > change_id]
        against = conflicts(
            memories, links, now.tables, now.index, lambda row_ids: _counted_by(now.links, later, row_ids)
        )
        if against:
            undone = [each.change_id for each in later if each.undoes == change_id]
            hint = f" (change {undone[-1]} has undone it)" if undone else ""
            before = change.changed_at.isoformat()
            other = "" if scope else f", or restore('{before}'), which takes all of them back"
            raise ProgrammingError(
                f"change {change_id} ({change.call}) cannot be undone, since later changes{hint} touched "
                f"what it wrote: memories {'; '.join(against)}. Nothing was written. Undo the later changes "
                f"first{other}"
            )
        for rows in (memories.added, memories.lost):
            if not pc.all(scope.sees(rows)).as_py() and len(rows):
                raise ProgrammingError(f"change {change_id} wrote memories that are not of this scope")
        return _verified(reversal(memories, links, now.tables))

    def _take_back(self, transaction: LoggedTransaction, found: Reversal) -> bool:
        """Write a reversal, the memories first; return whether there was anything to write."""
        database, draft, now = self._database, transaction.draft, transaction.snapshot
        draft.added, draft.updated, draft.deleted = found.added, found.updated, found.deleted
        draft.links = found.linked
        note = self._follower.taken_back(now, found)
        rows = self._with_vectors_in_use(found.memories.back)
        schema = now.memories.schema
        back = rows.select(schema.names).cast(schema)
        owed = OwedLinks(
            draft.change_id, draft.counts, str(uuid4()), now.memories.version,
            [*rows["memory_id"].to_pylist(), *_sources(now.links, found.links.gone)],
            found.links.gone, found.links.back,
        )  # fmt: skip
        if found.linked and (found.deleted or len(rows)):
            owed.keep(database.path)
        written = exchange(now.memories, found.memories.gone, back, row_ids(rows), owed.transaction)
        transaction.publish(memories=written)
        self._texts.outdated()
        then = _write_owed(database, transaction, owed)
        note(then)
        return then.versions != now.versions

    def _owes_nothing(self) -> None:
        forget_owed(self._database.path)

    def _with_vectors_in_use(self, rows: pa.Table) -> pa.Table:
        """Return rows with their vectors; those of weights that are no longer in use are made anew."""
        if self._texts.given is None or not len(rows):
            return rows
        current = self._texts.in_use(rows)
        stale = current[_VECTOR].is_null().to_numpy() & rows[_VECTOR].is_valid().to_numpy()
        return self._texts.complete(current, stale)


def finish_undo(database: OpenDatabase, transaction: Transaction) -> None:
    """Write the links that an undo owes whose process was ended."""
    owed = owed_links(database.path)
    if owed is None:
        return
    now = transaction.snapshot
    if owed.is_due(now.memories):
        database.change_log.settle(now.versions)
        now = _write_owed(database, transaction, owed)
        database.change_log.finished(owed.change_id, now.links.version, owed.counts)
        logger.warning(
            "%s: change %d, an undo, was broken off after its memories; its links are written now",
            database.path, owed.change_id, extra={"event": "undo_finished", "change_id": owed.change_id},
        )  # fmt: skip
    forget_owed(database.path)


def _write_owed(database: OpenDatabase, transaction: Transaction, owed: OwedLinks) -> Snapshot:
    """Write the links of a reversal whose memories are written."""
    now = transaction.snapshot
    database.pending.begin(now.links.version)
    now = transaction.publish(links=owed.write_to(now.links))
    database.pending.relinked([*owed.back["source_id"].to_pylist(), *owed.memory_ids])
    return now


def _sources(links: lance.LanceDataset, row_ids: NDArray[np.int64]) -> list[str]:
    found: list[str] = rows_at(links, row_ids)["source_id"].to_pylist() if len(row_ids) else []
    return found


def _counted_by(
    now: lance.LanceDataset, changes: Sequence[ChangeRecord], wanted: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell of links, by their row ids, whether one of these changes gave them evidence.

    The rows say so: the version of a row is that of its fragment, once that was merged with others.
    """
    found = np.zeros(len(wanted), np.bool_)
    for each in changes:
        if each.links_before < each.links_after:
            sides = (kept(now, each.links_before), kept(now, each.links_after))
            before, after = (evidence(side, wanted) for side in sides)
            found |= before != after
    return found


def _done_by(now: Level, change: ChangeRecord) -> tuple[Difference, Difference]:
    """Return what a change did to memories and to links."""
    try:
        return (
            difference(kept(now.memories, change.memories_before), kept(now.memories, change.memories_after)),
            difference(kept(now.links, change.links_before), kept(now.links, change.links_after)),
        )
    except (OperationalError, ProgrammingError) as error:
        raise OperationalError(f"change {change.change_id} cannot be undone: {error}") from error


def _verified(found: Reversal) -> Reversal:
    """Refuse to bring back what was damaged since it was written."""
    verify_memories(found.memories.back)
    verify_links(found.links.back)
    return found


def _how(call: str) -> str:
    return f"{call}(…, confirm=True) in Python, {call}(…, confirm := true) in SQL, --yes in the shell"


def _report(found: Reversal, change_id: int | None) -> UndoReport:
    return UndoReport(change_id, found.added, found.updated, found.deleted, found.linked)


def _unknown(change_id: int, records: list[ChangeRecord]) -> str:
    if not records:
        return (
            f"there is no change {change_id}: the log is empty (storage.keep_changes says how many are kept)"
        )
    first, last = records[0].change_id, records[-1].change_id
    return f"there is no change {change_id} in the log; FROM changes lists them, {first} to {last}"
