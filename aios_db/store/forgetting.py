"""What deletes memories: forget, under the write lock, in one commit of rows and one of links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.observing.recorder import measured
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.metrics import DELETE
from aios_db.store.commit import commit, delete
from aios_db.store.confirming import check_confirmed
from aios_db.store.derivation import refuse_withdrawal
from aios_db.store.guarding import Guarding
from aios_db.store.relinking import Relinking
from aios_db.store.selection import Selection
from aios_db.store.transaction import LoggedTransaction, Transactions

_CONFIRM = (
    "forget(…, confirm=True) in Python, forget(memory_id, confirm := true) or forget_all(…, confirm := true) "
    "in SQL, also in the place of a DELETE, --yes in the shell"
)


Changed = tuple[NDArray[np.int64], dict[str, pa.Array]]
"""Rows, and the new values of some of their columns."""

Besides = Callable[[], Changed]
"""Says what changes in the same commit."""


class Followers(Protocol):
    """What follows memories as they are deleted."""

    def with_those_of(self, chosen: Selection) -> Selection:
        """Return a selection with those that are left of memories which it names and which are gone."""
        ...

    def going_along(
        self, row_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Callable[[], Changed] | None]:
        """Return rows that go, with those that go along, and what says which change in the same commit."""
        ...


class Forgetting:
    """Memories are deleted, and the links at them.

    Parameters
    ----------
    transactions
        How all is written.
    guarding
        Who may delete what.
    relinking
        Deletes the links.
    followers
        What goes along.
    """

    def __init__(
        self, transactions: Transactions, guarding: Guarding, relinking: Relinking, followers: Followers
    ) -> None:
        self._database, self._transactions = transactions.database, transactions
        self._guarding, self._relinking, self._followers = guarding, relinking, followers
        self.metrics = self._database.metrics

    @measured(DELETE)
    def forget(self, memories: Sequence[str] | Selection, *, confirm: bool = False) -> int:
        """Delete memories, given by their ids or selected, and the links at them; return how many there were.

        The memories go first: a crash in between leaves links without an end, which readers tolerate.

        Raises
        ------
        ProgrammingError
            They are more than `storage.confirm_forget`, and ``confirm`` is not set; nothing is deleted.
        """
        self._database.check_writable()
        chosen = memories if isinstance(memories, Selection) else Selection(memory_ids=memories)
        for each in chosen.memory_ids or ():
            if not isinstance(each, str):
                raise ProgrammingError(f"cannot forget {each!r}; a memory_id is text")
        with self._transactions.changing("forget", "deleting memories of") as transaction:
            self.delete(transaction, chosen, confirm=confirm)
        self._transactions.maintain_soon()
        return transaction.draft.deleted

    def delete(
        self, transaction: LoggedTransaction, chosen: Selection, *, confirm: bool
    ) -> NDArray[np.int64]:
        """Delete memories as a step of a change, all or none: nothing is written before it may be.

        Returns
        -------
        int64, shape (n,)
            The rows that were deleted, with those that go along, ascending.
        """
        database, draft, now = self._database, transaction.draft, transaction.snapshot
        row_ids = self._followers.with_those_of(chosen).rows(now.memories, now.index)
        self._guarding.refuse_beyond(row_ids, "delete")
        row_ids, besides = self._followers.going_along(row_ids)
        if database.source is not None and len(row_ids):
            seen = now.memories if database.scope else None
            refuse_withdrawal(now.index, database.source, row_ids, seen)
        draft.deleted = len(row_ids)
        check_confirmed(len(row_ids), database.config.storage, _CONFIRM, confirm=confirm)
        if not len(row_ids):
            return row_ids
        gone = now.memories._take_rows(row_ids.tolist(), columns=["memory_id"])["memory_id"]
        if besides is None:
            transaction.publish(memories=delete(now.memories, row_ids))
        else:
            changed, columns = besides()
            transaction.publish(memories=commit(now.memories, None, changed, columns, gone=row_ids))
            draft.updated += len(changed)
        self._relinking.unlink_gone(transaction, gone)
        return row_ids
