"""What deletes memories: forget, under the write lock, in one commit of rows and one of links."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.observing.recorder import measured
from aios_db.provenance.origins import refuse_withdrawal
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.metrics import DELETE
from aios_db.store import links as links_
from aios_db.store.change_log import Draft
from aios_db.store.commit import commit, delete
from aios_db.store.confirming import check_confirmed
from aios_db.store.guarding import Guarding
from aios_db.store.selection import Selection

_CONFIRM = (
    "forget(…, confirm=True) in Python, forget(memory_id, confirm := true) or forget_all(…, confirm := true) "
    "in SQL, also in the place of a DELETE, --yes in the shell"
)


Changed = tuple[NDArray[np.int64], dict[str, pa.Array]]
"""Rows, and the new values of some of their columns."""


class Forgetting(Guarding):
    """The part of `MemoryStore` that deletes memories."""

    @measured(DELETE)
    def forget(self, memories: Sequence[str] | Selection, *, confirm: bool = False) -> int:
        """Delete memories, given by their ids or selected, and the links at them; return how many there were.

        The memories go first: a crash in between leaves links without an end, which readers tolerate.

        Raises
        ------
        ProgrammingError
            They are more than `storage.confirm_forget`, and ``confirm`` is not set; nothing is deleted.
        """
        self._check_writable()
        chosen = memories if isinstance(memories, Selection) else Selection(memory_ids=memories)
        for each in chosen.memory_ids or ():
            if not isinstance(each, str):
                raise ProgrammingError(f"cannot forget {each!r}; a memory_id is text")
        with self._changing("forget", "deleting memories of") as draft:
            self._forget(chosen, draft, confirm=confirm)
        self._maintenance.notify()
        return draft.deleted

    def _forget(self, chosen: Selection, draft: Draft, *, confirm: bool) -> None:
        row_ids = chosen.rows(self.memories, self.index)
        self._refuse_beyond(row_ids, "delete")
        self._delete(row_ids, draft, confirm=confirm)

    def _delete(
        self,
        row_ids: NDArray[np.int64],
        draft: Draft,
        *,
        confirm: bool,
        besides: Callable[[], Changed] | None = None,
    ) -> None:
        """Delete rows; ``besides`` returns what changes in the same commit, once nothing refuses it."""
        if self.source is not None and len(row_ids):
            refuse_withdrawal(self.index, self.source, row_ids, self.memories if self.scope else None)
        draft.deleted = len(row_ids)
        check_confirmed(len(row_ids), self.config.storage, _CONFIRM, confirm=confirm)
        if not len(row_ids):
            return
        gone = self.memories._take_rows(row_ids.tolist(), columns=["memory_id"])["memory_id"]
        if besides is None:
            self._written(memories_=delete(self.memories, row_ids))
        else:
            changed, columns = besides()
            self._written(memories_=commit(self.memories, None, changed, columns, gone=row_ids))
            draft.updated += len(changed)
        links, found = links_.delete_at(self.links, gone)
        self._written(links=links)
        draft.links = len(found)
        self._pending.relinked(found.unique().to_pylist())
