"""Taking changes back: one of the log, or all since a version. It is a change itself, and can be undone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from aios_db.provenance.keeping import Keeping
from aios_db.schema.changes import FINAL, ChangeRecord, UndoReport
from aios_db.schema.errors import OperationalError, ProgrammingError
from aios_db.store.commit import exchange
from aios_db.store.differences import Difference, difference, row_ids
from aios_db.store.embedding import embed_missing
from aios_db.store.history import History, kept
from aios_db.store.reversal import Reversal, conflicts, reversal

_VECTOR = "text_embedding"


class Undoing(Keeping):
    """The part of `MemoryStore` that takes changes back."""

    history: History

    if TYPE_CHECKING:  # what `MemoryStore` has

        def _compacting(self) -> AbstractContextManager[None]: ...

    def undo(self, change_id: int, *, dry_run: bool = False) -> UndoReport:
        """Bring the rows that a change wrote back to what they were before it.

        Memories that it deleted come back with their ids, vectors, metadata, times and links; those that it
        stored go; those that it changed have their former values. Vectors of weights that are no longer in
        use are made anew.

        Parameters
        ----------
        change_id
            As in `changes`; with a scope, one of its own.
        dry_run
            Only say what would be written.

        Raises
        ------
        NotSupportedError
            All that this store writes has one source, and a change may bring back that of another.
        ProgrammingError
            There is no such change, it cannot be undone, or a later change touched what it wrote: the message
            names the memories. Nothing is written then.
        OperationalError
            The versions of the tables from before it are kept no longer.
        """
        self._check_writable()
        self._refuse_of_source("undo")
        if dry_run:
            with self._compacting(), self._writing("reading"):
                return _report(self._undoing(change_id), None)
        with self._compacting(), self._changing("undo", "undoing a change of", undoes=change_id) as draft:
            found = self._undoing(change_id)
            written = self._take_back(found)
            draft.added, draft.updated, draft.deleted = found.added, found.updated, found.deleted
            draft.links = found.linked
        self._maintenance.notify()
        return _report(found, draft.change_id if written else None)

    def restore(self, version: int | None, time: int | None, *, dry_run: bool = False) -> UndoReport:
        """Bring memories and links back to a version of the memories, or to a moment.

        They are written as a new version: what was written since can be brought back by undoing this.

        Parameters
        ----------
        version, time
            One of both; the time in microseconds since 1970.
        dry_run
            Only say what would be written.

        Raises
        ------
        NotSupportedError
            The connection has a scope, or writes as one source.
        ProgrammingError
            There never was such a version.
        OperationalError
            It is kept no longer.
        """
        self._check_writable()
        self.scope.refuse("restore")
        self._refuse_of_source("restore")
        if dry_run:
            with self._compacting(), self._writing("reading"):
                return _report(self._restoring(version, time), None)
        with self._compacting(), self._changing("restore", "restoring an earlier version of") as draft:
            found = self._restoring(version, time)
            written = self._take_back(found)
            draft.added, draft.updated, draft.deleted = found.added, found.updated, found.deleted
            draft.links = found.linked
        self._maintenance.notify()
        return _report(found, draft.change_id if written else None)

    # Inside; under the write lock, with nobody removing versions

    def _restoring(self, version: int | None, time: int | None) -> Reversal:
        then = self.history.tables(version, time)
        memories, links = (
            difference(old, new) for old, new in zip(then, (self.memories, self.links), strict=True)
        )
        return reversal(memories, links, (self.memories, self.links))

    def _undoing(self, change_id: int) -> Reversal:
        records = self.changes()
        change = next((each for each in records if each.change_id == change_id), None)
        if change is None:
            raise ProgrammingError(_unknown(change_id, records))
        if change.call in FINAL:
            raise ProgrammingError(f"change {change_id} cannot be undone: {FINAL[change.call]}")
        memories, links = self._done_by(change)
        later = [each for each in self.change_log.records() if each.change_id > change_id]
        against = conflicts(
            memories, links, (self.memories, self.links), self.index,
            lambda version: any(each.links_before < version <= each.links_after for each in later),
        )  # fmt: skip
        if against:
            undone = [each.change_id for each in later if each.undoes == change_id]
            hint = f" (change {undone[-1]} has undone it)" if undone else ""
            before = change.changed_at.isoformat()
            other = "" if self.scope else f", or restore('{before}'), which takes all of them back"
            raise ProgrammingError(
                f"change {change_id} ({change.call}) cannot be undone, since later changes{hint} touched "
                f"what it wrote: memories {'; '.join(against)}. Nothing was written. Undo the later changes "
                f"first{other}"
            )
        for rows in (memories.added, memories.lost):
            if not pc.all(self.scope.sees(rows)).as_py() and len(rows):
                raise ProgrammingError(f"change {change_id} wrote memories that are not of this scope")
        return reversal(memories, links, (self.memories, self.links))

    def _done_by(self, change: ChangeRecord) -> tuple[Difference, Difference]:
        """Return what a change did to memories and to links."""
        try:
            return (
                difference(
                    kept(self.memories, change.memories_before), kept(self.memories, change.memories_after)
                ),
                difference(kept(self.links, change.links_before), kept(self.links, change.links_after)),
            )
        except (OperationalError, ProgrammingError) as error:
            raise OperationalError(f"change {change.change_id} cannot be undone: {error}") from error

    def _take_back(self, found: Reversal) -> bool:
        """Write a reversal, the memories first; return whether there was anything to write."""
        before = self._versions()
        rows = self._with_vectors_in_use(found.memories.back)
        names = self.memories.schema.names
        back = rows.select(names).cast(self.memories.schema)
        sources = pa.chunked_array([found.links.back["source_id"].combine_chunks()])
        if len(found.links.gone):
            gone = self.links._take_rows(found.links.gone.tolist(), columns=["source_id"])["source_id"]
            sources = pa.chunked_array([*sources.chunks, *gone.chunks], pa.string())
        self._written(memories_=exchange(self.memories, found.memories.gone, back, row_ids(rows)))
        self._following.outdated()
        linked = found.links.back
        back = linked.select(self.links.schema.names).cast(self.links.schema)
        self._written(links=exchange(self.links, found.links.gone, back, row_ids(linked)))
        self._pending.relinked([*sources.unique().to_pylist(), *rows["memory_id"].to_pylist()])
        return self._versions() != before

    def _with_vectors_in_use(self, rows: pa.Table) -> pa.Table:
        """Return rows with their vectors; those of weights that are no longer in use are made anew."""
        if self._encoder is None or not len(rows):
            return rows
        self._following.follow(self.memories, self._encoder)
        current = self._following.without_stale(rows)
        stale = current[_VECTOR].is_null().to_numpy() & rows[_VECTOR].is_valid().to_numpy()
        return embed_missing(current, stale, lambda: self.encoder)


def _report(found: Reversal, change_id: int | None) -> UndoReport:
    return UndoReport(change_id, found.added, found.updated, found.deleted, found.linked)


def _unknown(change_id: int, records: list[ChangeRecord]) -> str:
    if not records:
        return (
            f"there is no change {change_id}: the log is empty (storage.keep_changes says how many are kept)"
        )
    first, last = records[0].change_id, records[-1].change_id
    return f"there is no change {change_id} in the log; FROM changes lists them, {first} to {last}"
