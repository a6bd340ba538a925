"""The links of new and changed memories, and those at memories that are gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.association_links import KINDS
from aios_db.schema.errors import Error
from aios_db.search.source import Appended
from aios_db.store import links as links_
from aios_db.store.linking import link_new
from aios_db.store.opened import OpenDatabase
from aios_db.store.strongest import write_first
from aios_db.store.transaction import LoggedTransaction

logger = logging.getLogger("aios_db.store")

BULK = 4_096
"""So many memories in one call are written in bulk: what can wait is done at the end."""


class Relinking:
    """Links follow from memories, in a commit of their own.

    Parameters
    ----------
    database
        Says how memories are linked, and notes of which the column of links is to be written.
    """

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    def link(self, transaction: LoggedTransaction, new: pa.Table) -> None:
        """Link new memories; they are stored already, so a failure costs their links and no more.

        The next one that writes makes them then, see `finishing`.
        """
        config, pending = self._database.config.links, self._database.pending
        now = transaction.snapshot
        try:
            links, made = link_new(now.memories, now.links, now.index, new, config)
            now = transaction.publish(links=links, appended=Appended(links=made))
            transaction.draft.links += len(made)
            sources = made["source_id"].unique()
            if len(new) >= BULK:
                names = new["memory_id"].combine_chunks()
                rows = now.index.find_ids(names)
                transaction.publish(memories=write_first(now.memories, rows, names, made))
                sources = sources.filter(pc.invert(pc.is_in(sources, names)))
            pending.relinked(sources.to_pylist())
        except (Error, OSError, RuntimeError, ValueError) as error:
            transaction.draft.unlinked += len(new)
            logger.warning(
                "memories stored without their links: %s; the next write makes them, or aios repair",
                error,
                extra={"database": str(self._database.path), "memories": len(new)},
            )

    def relink(
        self, transaction: LoggedTransaction, row_ids: NDArray[np.int64], kinds: Sequence[str] | None
    ) -> None:
        """Make anew the links of these kinds of changed memories; with None, all, those made by hand go.

        The memories are stored already, so a failure costs these links and no more.
        """
        if not len(row_ids):
            return
        config, now = self._database.config.links, transaction.snapshot
        try:
            rows = now.memories._take_rows(row_ids.tolist())
            names = rows["memory_id"].combine_chunks()
            links, found = links_.delete_at(now.links, names, kinds, staying=True)
            now = transaction.publish(links=links)
            links, made = link_new(now.memories, now.links, now.index, rows, config, kinds=kinds or KINDS)
            transaction.publish(links=links)
            transaction.draft.links += len(found) + len(made)
            sources = [*found.unique().to_pylist(), *made["source_id"].unique().to_pylist()]
            self._database.pending.relinked(sources)
        except (Error, OSError, RuntimeError, ValueError) as error:
            transaction.draft.unlinked += len(row_ids)
            logger.warning(
                "memories changed without their links: %s; the next write makes them, or aios repair",
                error,
                extra={"database": str(self._database.path), "memories": len(row_ids)},
            )

    def unlink_gone(self, transaction: LoggedTransaction, memory_ids: pa.Array) -> None:
        """Delete the links at memories that are gone."""
        links, found = links_.delete_at(transaction.snapshot.links, memory_ids)
        transaction.publish(links=links)
        transaction.draft.links += len(found)
        self._database.pending.relinked(found.unique().to_pylist())
