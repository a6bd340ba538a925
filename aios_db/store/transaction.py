"""What is written under the write lock: from snapshot to snapshot, and what the log of changes has of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import lance
import pyarrow as pa

from aios_db.disk.durable import DurableTable
from aios_db.disk.failures import operational
from aios_db.schema.association_links import TABLE as LINKS
from aios_db.schema.changes import LINKED_OTHERWISE, ChangeRecord
from aios_db.schema.database import OWED, table_path
from aios_db.schema.errors import OperationalError
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.search.source import NOTHING, Appended
from aios_db.store.change_log import Draft
from aios_db.store.maintenance import Maintenance
from aios_db.store.opened import OpenDatabase
from aios_db.store.snapshot import Snapshot, newest

logger = logging.getLogger("aios_db.store")

Force = Callable[[str, lance.LanceDataset], None]


class Transaction:
    """What a thread writes while it holds the write lock; each step takes the snapshot and makes the next.

    Parameters
    ----------
    database
        What is written.
    force
        Called with the name of a table and a version of it that is to be brought to the disk.
    """

    def __init__(self, database: OpenDatabase, force: Force) -> None:
        self._database = database
        self._force = force if database.config.storage.durability == "full" else _leave_to_the_system

    @property
    def snapshot(self) -> Snapshot:
        """What the steps before have made; the newest version of all."""
        return self._database.snapshot

    def publish(
        self,
        *,
        memories: lance.LanceDataset | None = None,
        links: lance.LanceDataset | None = None,
        appended: Appended = NOTHING,
    ) -> Snapshot:
        """Move to versions that were written, once they are on the disk if that is promised."""
        self._promise(memories, links)
        return self._database.publish(memories, links, appended)

    def publish_anew(self, memories: lance.LanceDataset, links: lance.LanceDataset) -> Snapshot:
        """As `publish`, with an index that is made anew."""
        self._promise(memories, links)
        return self._database.publish_anew(memories, links)

    def logged_by(self, draft: Draft) -> LoggedTransaction:
        """Return the transaction as one of a change, which ``draft`` counts."""
        return LoggedTransaction(self._database, self._force, draft)

    def _promise(self, memories: lance.LanceDataset | None, links: lance.LanceDataset | None) -> None:
        for table, written in ((MEMORIES, memories), (LINKS, links)):
            if written is not None:
                self._force(table, written)


class LoggedTransaction(Transaction):
    """A change: a transaction that the log of changes has, and that is on the disk as a whole at its end."""

    def __init__(self, database: OpenDatabase, force: Force, draft: Draft) -> None:
        super().__init__(database, force)
        self.draft = draft
        """Counts what is done."""

    def note_first(self, new: pa.Table) -> None:
        """Note the row of the first memory that the change adds."""
        if self.draft.first_row is None and len(new):
            first = new["memory_id"][:1].to_pylist()
            self.draft.first_row = int(self.snapshot.index.find_ids(first)[0])


class _OneChange(threading.local):
    """What the calls of a thread are, where they are one change: its name, and what it has done by now."""

    call: str | None = None
    draft: Draft | None = None


class Transactions:
    """The one way to write memories and links.

    Parameters
    ----------
    database
        What is written.
    finish
        Called first in each transaction: brings to its end what another process began.
    maintenance
        Told when something is left for later.
    """

    def __init__(
        self, database: OpenDatabase, finish: Callable[[Transaction], None], maintenance: Maintenance
    ) -> None:
        self.database, self._finish = database, finish
        self.maintain_soon, self._count_write = maintenance.notify, maintenance.count_write
        self._one = _OneChange()
        self._unforced: dict[str, lance.LanceDataset] | None = None
        self._durable: Mapping[str, DurableTable] = {
            table: DurableTable(table_path(database.path, table)) for table in (MEMORIES, LINKS)
        }

    def changes(self) -> list[ChangeRecord]:
        """Return the changes in their order; with a scope, those of connections of that scope.

        The last may have been broken off after its first commit, and be in the log with the next write only.
        """
        database = self.database
        told = database.change_log.records()
        if not database.closed and (database.read_only or database.lock.is_free()):
            versions = database.refresh().versions
            if begun := database.change_log.unfinished(versions):
                earlier = [each for each in told if each.change_id != begun.change_id]
                told = [*earlier, begun.ended(versions, complete=False)]
        scope = database.scope.values.items()
        return [each for each in told if all(getattr(each, name) == value for name, value in scope)]

    def broken_off(self) -> bool:
        """Tell whether a change of any process may not have come to its end; see `ChangeLog.broken_off`."""
        return self.database.change_log.broken_off(self.database.snapshot.versions)

    @contextmanager
    def as_one_change(self, call: str) -> Iterator[None]:
        """Log what this thread changes in the block as one change, which is undone as a whole.

        Where others change something in between, it is one change up to there, and another one from there on.
        """
        self._one.call, self._one.draft = call, None
        try:
            yield
        finally:
            self._one.call = self._one.draft = None

    @contextmanager
    def writing(self, doing: str) -> Iterator[Transaction]:
        """Hold the write lock, at the newest version; what is written is no change in the log."""
        database = self.database
        with database.lock.hold(), operational(f"{doing} {database.path}"):
            database.check_open()  # it may have been closed while another one wrote
            database.advance()
            transaction = Transaction(database, self._force_table)
            if self._unforced is None:  # else a change of this store's is going on
                self._finish(transaction)
            yield transaction

    @contextmanager
    def changing(
        self, call: str, doing: str, *, undoes: int | None = None, at_end: Callable[[], None] = lambda: None
    ) -> Iterator[LoggedTransaction]:
        """Hold the write lock, at the newest version, and log what is changed in the block.

        ``at_end`` is called when the change is whole, and on the disk if that is promised.
        """
        database = self.database
        with self.writing(doing) as transaction:
            about = {"statement": database.origins.statement(), **database.scope.values, "undoes": undoes}
            one, log = self._one, database.change_log
            draft = log.begin(one.call or call, database.snapshot.versions, about, one.draft)
            database.pending.begin(database.snapshot.links.version)
            self._unforced = {}
            try:
                try:
                    yield transaction.logged_by(draft)
                finally:
                    unforced, self._unforced = self._unforced, None
            except BaseException as error:
                # What is committed may not be the snapshot yet.
                memories, links = map(newest, database.snapshot.tables)
                written = memories.version, links.version
                if written[0] == draft.level[0] or draft.call in LINKED_OTHERWISE:
                    log.end(draft, written, complete=False)
                # Else the next one that writes brings it to its end, see `finishing`.
                if written != draft.level:
                    one.draft = None
                if written[0] != draft.level[0] and isinstance(error, Exception):
                    raise OperationalError(
                        f"{doing} {database.path} did not come to its end: {error}; the memories are "
                        "written, so do not repeat it: the next write makes their links"
                    ) from error
                raise
            written = database.snapshot.versions
            if draft.unlinked:
                database.change_log.unlinked[draft.change_id] = draft.unlinked
            if not draft.unlinked or draft.call in LINKED_OTHERWISE:
                log.end(draft, written, complete=not draft.unlinked)
            if written != draft.level:
                self._count_write()
                one.draft = draft if one.call and not draft.unlinked else None
            self._force_all(unforced or {})
            at_end()

    def finish_broken_off(self) -> None:
        """Let a change come to its end whose process did not, unless somebody writes."""
        database = self.database
        if database.read_only:
            return
        if not (database.path / OWED).exists() and not (
            database.change_log.is_begun and database.lock.is_free()
        ):
            return
        try:
            with self.writing("finishing a change of"):
                pass
        except OperationalError as error:
            logger.warning("a change that was broken off is not finished yet: %s", error)

    def _force_table(self, table: str, written: lance.LanceDataset) -> None:
        """Bring a version to the disk; within a change, at its end."""
        if self._unforced is None:
            self.database.pending.force()
            self._durable[table].force(written)
        else:
            self._unforced[table] = written

    def _force_all(self, unforced: Mapping[str, lance.LanceDataset]) -> None:
        """Bring versions to the disk, the memories first, and at the same time the log of changes."""
        if not unforced:
            return
        self.database.pending.force()  # no links without the note that the column may not show them
        with ThreadPoolExecutor(1, "aios_db-log") as beside:
            forcing = beside.submit(self.database.change_log.force)
            for table in self._durable:
                if table in unforced:
                    self._durable[table].force(unforced[table])
            forcing.result()


def _leave_to_the_system(table: str, written: lance.LanceDataset) -> None:
    """Promise nothing of a version."""
