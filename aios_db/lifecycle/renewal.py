"""The part of `MemoryStore` that notes of memories what newer ones say: otherwise, or the same again."""

from __future__ import annotations

import pyarrow as pa

from aios_db.lifecycle.near_duplicates import folded_columns, said_again
from aios_db.lifecycle.superseding import superseded
from aios_db.lifecycle.taking_back import TakingBack
from aios_db.schema.consolidations import Folding, Supersession
from aios_db.store.commit import commit


class Renewal(TakingBack):
    """What no longer holds, and what was said again."""

    def supersede(self, *, dry_run: bool = False) -> list[Supersession]:
        """Note, in one commit, of what no longer holds what holds instead; see `superseding`.

        It is undone as any change is, by its number in the log of changes.
        """
        if not dry_run:
            self._check_writable()
            self._refuse_of_source("supersede")
        self.refresh()
        found = superseded(self)  # type: ignore[arg-type]
        if found and not dry_run:
            with self.as_one_change("supersede"):
                self.update(
                    pa.table(
                        {
                            "memory_id": [each.memory_id for each in found],
                            "valid_until": [each.valid_until for each in found],
                            "superseded_by": [each.superseded_by for each in found],
                        }
                    )
                )
        return found

    def fold(self, *, dry_run: bool = False) -> list[Folding]:
        """Make one memory of those that say the same in nearly the same words, in one commit.

        The newest stays: it counts them in ``occurrences``, and has all their ``times``. The others expire
        now: nothing finds them, and they come back when this change is undone, or their ``expires_at`` is
        emptied.
        """
        if not dry_run:
            self._check_writable()
            self._refuse_of_source("fold")
        self.refresh()
        found = said_again(self)  # type: ignore[arg-type]
        if found and not dry_run:
            with self._changing("fold", "folding memories of") as draft:
                found = said_again(self)  # type: ignore[arg-type]
                rows, columns = folded_columns(self, found)  # type: ignore[arg-type]
                self._written(memories_=commit(self.memories, None, rows, columns))
                draft.updated = len(rows)
            self._maintenance.notify()
        return found
