"""The part of `MemoryStore` that links new and changed memories."""

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
from aios_db.store.change_log import Draft
from aios_db.store.forgetting import Forgetting
from aios_db.store.linking import link_new
from aios_db.store.strongest import write_first

logger = logging.getLogger("aios_db.store")

BULK = 4_096
"""So many memories in one call are written in bulk: what can wait is done at the end."""


class Relinking(Forgetting):
    """Links follow from memories, in a commit of their own."""

    def _link(self, new: pa.Table, draft: Draft) -> None:
        """Link new memories; they are stored already, so a failure costs their links and no more."""
        try:
            links, made = link_new(self.memories, self.links, self.index, new, self.config.links)
            self._written(links=links, appended=Appended(links=made))
            draft.links += len(made)
            sources = made["source_id"].unique()
            if len(new) >= BULK:
                names = new["memory_id"].combine_chunks()
                self._written(memories_=write_first(self.memories, self.index.find_ids(names), names, made))
                sources = sources.filter(pc.invert(pc.is_in(sources, names)))
            self._pending.relinked(sources.to_pylist())
        except (Error, OSError, RuntimeError, ValueError) as error:
            logger.warning(
                "memories stored without their links: %s",
                error,
                extra={"database": str(self.path), "memories": len(new)},
            )

    def _relink(self, row_ids: NDArray[np.int64], kinds: Sequence[str] | None, draft: Draft) -> None:
        """Make anew the links of these kinds of changed memories; with None, all, those made by hand go.

        The memories are stored already, so a failure costs these links and no more.
        """
        if not len(row_ids):
            return
        try:
            rows = self.memories._take_rows(row_ids.tolist())
            names = rows["memory_id"].combine_chunks()
            links, found = links_.delete_at(self.links, names, kinds, staying=True)
            self._written(links=links)
            links, made = link_new(
                self.memories, self.links, self.index, rows, self.config.links, kinds=kinds or KINDS
            )
            self._written(links=links)
            draft.links += len(found) + len(made)
            self._pending.relinked([*found.unique().to_pylist(), *made["source_id"].unique().to_pylist()])
        except (Error, OSError, RuntimeError, ValueError) as error:
            logger.warning(
                "memories changed without their links: %s; aios repair removes what points nowhere",
                error,
                extra={"database": str(self.path), "memories": len(row_ids)},
            )
