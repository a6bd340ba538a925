"""What a process had still to do that was ended between its commits: the next one that writes does it.

A call writes memories first and links second. The log of changes has which call was begun, at which versions;
what is different now is what it wrote, and the links follow from that. It is logged when they are written, so
that a process that is ended meanwhile leaves it to the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.association_links import KINDS
from aios_db.schema.changes import ERASE, LINKED_OTHERWISE
from aios_db.schema.errors import Error
from aios_db.schema.memories import TIMESTAMP
from aios_db.store.changes import Change
from aios_db.store.commit import commit
from aios_db.store.differences import Difference, difference, row_ids
from aios_db.store.kept import kept
from aios_db.store.linking import links_of_new, not_there
from aios_db.store.opened import OpenDatabase
from aios_db.store.relinking import Relinking
from aios_db.store.transaction import LoggedTransaction, Transaction
from aios_db.store.undoing import finish_undo

logger = logging.getLogger("aios_db.store")

_UPDATE = "update"


class Finishing:
    """What another process began is brought to its end, before anything else is written.

    Parameters
    ----------
    database
        What is written.
    relinking
        Writes the links of changed memories.
    without_scope
        Finishes what is begun in a store that sees all memories: the links may be those of any.
    """

    def __init__(
        self, database: OpenDatabase, relinking: Relinking, without_scope: Callable[[], None]
    ) -> None:
        self._database, self._relinking, self._without_scope = database, relinking, without_scope

    def finish(self, transaction: Transaction) -> None:
        """Finish what is begun, as the first step of a transaction."""
        finish_undo(self._database, transaction)
        self._finish_change(transaction)

    def _finish_change(self, transaction: Transaction) -> None:
        """Make the links of a change that was broken off."""
        database, now = self._database, transaction.snapshot
        begun = database.change_log.taken_over(now.versions)
        if begun is None or begun.call in LINKED_OTHERWISE or begun.level[0] == now.memories.version:
            return
        try:
            if database.scope:
                self._without_scope()
                database.advance()
                return
            database.pending.begin(begun.level[1])
            done = difference(kept(now.memories, begun.level[0]), now.memories)
            self._link_done(transaction.logged_by(begun), done)
            self._relinked_since(begun.level[1], transaction.snapshot.links)
            if begun.unlinked:
                return  # as was said
        except (Error, OSError, RuntimeError, ValueError) as error:
            logger.warning(
                "%s: change %d was broken off before its links were written: %s; aios repair writes them",
                database.path, begun.change_id, error, extra={"event": "broken_off"},
            )  # fmt: skip
            return
        # Of an erasure, the files are to go, too.
        database.change_log.unlinked.pop(begun.change_id, None)
        database.change_log.end(begun, transaction.snapshot.versions, complete=begun.call != ERASE)
        logger.warning(
            "%s: change %d, %s, was broken off after its memories; its links are written now",
            database.path, begun.change_id, begun.call,
            extra={"event": "change_finished", "change_id": begun.change_id},
        )  # fmt: skip

    def _link_done(self, transaction: LoggedTransaction, done: Difference) -> None:
        """Write the links that follow from what a change did to memories."""
        begun = transaction.draft
        begun.added, begun.updated, begun.deleted = len(done.added), len(done.old), len(done.deleted)
        if len(done.deleted):
            self._relinking.unlink_gone(transaction, done.deleted["memory_id"].combine_chunks())
        self._relink_changed(transaction, done)
        # Memories of an export come with the times, and the links, that they had.
        stored = pc.greater_equal(done.added["created_at"], pa.scalar(begun.begun_at, TIMESTAMP))
        new = done.added.filter(stored)
        if len(new):
            now = transaction.snapshot
            rows = new.select(now.memories.schema.names)
            following = links_of_new(now.memories, now.index, rows, self._database.config.links, KINDS)
            made = not_there(now.links, following)
            if len(made):
                transaction.publish(links=commit(now.links, made))
            begun.links += len(made)

    def _relinked_since(self, version: int, links: lance.LanceDataset) -> None:
        """Note of which memories links changed: here, or by the process that did not write their column."""
        done = difference(kept(links, version), links)
        for rows in (done.added, done.lost):
            self._database.pending.relinked(rows["source_id"].to_pylist())

    def _relink_changed(self, transaction: LoggedTransaction, done: Difference) -> None:
        schema = transaction.snapshot.memories.schema
        names = [each for each in done.new.column_names if each in schema.names]
        columns = {name: done.new[name].combine_chunks() for name in names}
        change = Change.between(row_ids(done.new), done.old, columns)
        if not len(change.row_ids):
            return
        rows, kinds = change.to_link()
        outdone = change.changed.get("source", np.zeros(len(change.row_ids), np.bool_))
        if transaction.draft.call != _UPDATE and outdone.any():  # as if nobody had said it before
            self._relinking.relink(transaction, change.row_ids[outdone], None)
            rows = np.setdiff1d(rows, change.row_ids[outdone])
        self._relinking.relink(transaction, rows, kinds)
