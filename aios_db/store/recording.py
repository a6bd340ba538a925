"""Changes of the store, each under the write lock and in the log of changes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import lance

from aios_db.schema import association_links, memories
from aios_db.schema.changes import LINKED_OTHERWISE, ChangeRecord
from aios_db.schema.database import INDEX, table_path
from aios_db.search.source import NOTHING, Appended
from aios_db.store.change_log import Draft, Versions
from aios_db.store.durable import DurableTable
from aios_db.store.reading import Reading
from aios_db.store.snapshot import newest


class OneChange(threading.local):
    """What the calls of a thread are, where they are one change: its name, and what it has done by now."""

    call: str | None = None
    draft: Draft | None = None


class Recording(Reading):
    """The part of `MemoryStore` that logs what the rest of it changes."""

    def __init__(self, *opened: Any, **how: Any) -> None:
        super().__init__(*opened, **how)
        self._one = OneChange()
        self._unforced: dict[str, lance.LanceDataset] | None = None
        self._durable: Mapping[str, DurableTable] = {
            table: DurableTable(table_path(self.path, table))
            for table in (memories.TABLE, association_links.TABLE)
        }

    def changes(self) -> list[ChangeRecord]:
        """Return the changes in the log, in their order; with a scope, those of connections of that scope."""
        scope = self.scope.values.items()
        return [
            each
            for each in self.change_log.records()
            if all(getattr(each, name) == value for name, value in scope)
        ]

    def broken_off(self) -> bool:
        """Tell whether a change of any process may not have come to its end; see `ChangeLog.broken_off`."""
        return self.change_log.broken_off(self._versions())

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
    def _changing(
        self, call: str, doing: str, *, undoes: int | None = None, at_end: Callable[[], None] = lambda: None
    ) -> Iterator[Draft]:
        """Hold the write lock, at the newest version, and log what is changed in the block.

        ``at_end`` is called when the change is whole, and on the disk if that is promised.
        """
        with self._writing(doing):
            about = {"statement": self.origins.statement(), **self.scope.values, "undoes": undoes}
            one = self._one
            draft = self.change_log.begin(one.call or call, self._versions(), about, one.draft)
            self._unforced = {}
            try:
                try:
                    yield draft
                finally:
                    unforced, self._unforced = self._unforced, None
            except BaseException:
                # What is committed may not be the snapshot yet.
                written = newest(self.memories).version, newest(self.links).version
                if written[0] == draft.level[0] or draft.call in LINKED_OTHERWISE:
                    self.change_log.end(draft, written, complete=False)
                # Else the next one that writes brings it to its end, see `finishing`.
                if written != draft.level:
                    one.draft = None
                raise
            written = self._versions()
            self.change_log.end(draft, written, complete=True)
            if one.call and written != draft.level:
                one.draft = draft
            self._force_all(unforced or {})
            at_end()

    def _force_table(self, table: str, written: lance.LanceDataset) -> None:
        """Bring a version to the disk; within a change, at its end."""
        if self._unforced is None:
            self._durable[table].force(written)
        else:
            self._unforced[table] = written

    def _force_all(self, unforced: Mapping[str, lance.LanceDataset]) -> None:
        """Bring versions to the disk, the memories first, and at the same time the log of changes."""
        if not unforced:
            return
        with ThreadPoolExecutor(1, "aios_db-log") as beside:
            forcing = beside.submit(self.change_log.force)
            for table in self._durable:
                if table in unforced:
                    self._durable[table].force(unforced[table])
            forcing.result()

    def _versions(self) -> Versions:
        return self.memories.version, self.links.version

    def renew_index(self, memories: lance.LanceDataset, links: lance.LanceDataset) -> None:
        """Move to versions of the tables with an index that is made anew; the caller has the write lock."""
        with self._moving:
            shutil.rmtree(self.path / INDEX, ignore_errors=True)
            index = self._new_index()
            index.sync(memories, links)
            self.index = index  # a reader finds the old one or the new one, never an empty one
            self._written(memories, links)

    def _written(
        self,
        memories_: lance.LanceDataset | None = None,
        links: lance.LanceDataset | None = None,
        appended: Appended = NOTHING,
    ) -> None:
        """Move to versions that this process wrote, when they are on the disk if that is promised."""
        if self.config.storage.durability == "full":
            for table, dataset in ((memories, memories_), (association_links, links)):
                if dataset is not None:
                    self._force_table(table.TABLE, dataset)
        self._move(memories_, links, appended)
