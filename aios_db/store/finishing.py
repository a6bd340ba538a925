"""What a process had still to do that was ended between its commits: the next one that writes does it.

A call writes memories first and links second. The log of changes has which call was begun, at which versions;
what is different now is what it wrote, and the links follow from that. It is logged when they are written, so
that a process that is ended meanwhile leaves it to the next one.
"""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema.association_links import KINDS
from aios_db.schema.changes import ERASE, LINKED_OTHERWISE
from aios_db.schema.database import OWED
from aios_db.schema.errors import Error, OperationalError
from aios_db.schema.memories import TIMESTAMP
from aios_db.store import links as links_
from aios_db.store.change_log import Draft
from aios_db.store.changes import Change
from aios_db.store.commit import commit
from aios_db.store.differences import Difference, difference, row_ids
from aios_db.store.directory import open_directory
from aios_db.store.kept import kept
from aios_db.store.linking import links_of_new, not_there
from aios_db.store.undoing import Undoing

logger = logging.getLogger("aios_db.store")

_UPDATE = "update"


class Finishing(Undoing):
    """The part of `MemoryStore` that brings to its end what another process began."""

    def _finish_broken_off(self) -> None:
        """Let a change come to its end whose process did not, unless somebody writes."""
        if self.read_only:
            return
        owes = (self.path / OWED).exists()
        if not owes and (self.change_log.unfinished(self._versions()) is None or not self.lock.is_free()):
            return
        try:
            with self._writing("finishing a change of"):
                pass
        except OperationalError as error:
            logger.warning("a change that was broken off is not finished yet: %s", error)

    def _finish_begun(self) -> None:
        self._finish_undo()
        self._finish_change()

    def _finish_change(self) -> None:
        """Make the links of a change that was broken off; under the write lock, at the newest."""
        begun = self.change_log.unfinished(self._versions())
        if begun is None or begun.call in LINKED_OTHERWISE or begun.level[0] == self.memories.version:
            return
        try:
            if self.scope:  # the links are those of memories that it does not see
                self._finish_without_scope()
                return
            self._link_done(difference(kept(self.memories, begun.level[0]), self.memories), begun)
        except (Error, OSError, RuntimeError, ValueError) as error:
            logger.warning(
                "%s: change %d was broken off before its links were written: %s; aios repair writes them",
                self.path, begun.change_id, error, extra={"event": "broken_off"},
            )  # fmt: skip
            return
        # Of an erasure, the files are to go, too.
        self.change_log.end(begun, self._versions(), complete=begun.call != ERASE)
        logger.warning(
            "%s: change %d, %s, was broken off after its memories; its links are written now",
            self.path, begun.change_id, begun.call,
            extra={"event": "change_finished", "change_id": begun.change_id},
        )  # fmt: skip

    def _link_done(self, done: Difference, begun: Draft) -> None:
        """Write the links that follow from what a change did to memories."""
        begun.added, begun.updated, begun.deleted = len(done.added), len(done.old), len(done.deleted)
        if len(done.deleted):
            links, found = links_.delete_at(self.links, done.deleted["memory_id"].combine_chunks())
            self._written(links=links)
            begun.links += len(found)
            self._pending.relinked(found.unique().to_pylist())
        self._relink_changed(done, begun)
        # Memories of an export come with the times, and the links, that they had.
        stored = pc.greater_equal(done.added["created_at"], pa.scalar(begun.begun_at, TIMESTAMP))
        new = done.added.filter(stored)
        if len(new):
            rows = new.select(self.memories.schema.names)
            made = not_there(
                self.links, links_of_new(self.memories, self.index, rows, self.config.links, KINDS)
            )
            if len(made):
                self._written(links=commit(self.links, made))
            begun.links += len(made)
            self._pending.relinked(made["source_id"].unique().to_pylist())

    def _finish_without_scope(self) -> None:
        found = open_directory(self.path, read_only=False, dimension=self.dimension, lock=self.lock)
        whole = type(self)(self.path, found, self.lock, self.config, None, read_only=False)  # finishes it
        whole.flush()
        whole.abandon()
        self.database.advance()

    def _relink_changed(self, done: Difference, begun: Draft) -> None:
        names = [each for each in done.new.column_names if each in self.memories.schema.names]
        columns = {name: done.new[name].combine_chunks() for name in names}
        change = Change.between(row_ids(done.new), done.old, columns)
        if not len(change.row_ids):
            return
        rows, kinds = change.to_link()
        outdone = change.changed.get("source", np.zeros(len(change.row_ids), np.bool_))
        if begun.call != _UPDATE and outdone.any():  # as if nobody had said it before
            self._relink(change.row_ids[outdone], None, begun)
            rows = np.setdiff1d(rows, change.row_ids[outdone])
        self._relink(rows, kinds, begun)
