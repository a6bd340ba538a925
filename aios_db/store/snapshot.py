"""A snapshot of the database, and the newest version of a table, found without listing its versions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import lance

from aios_db.disk.durable import manifest, versions
from aios_db.search.answers import Answers
from aios_db.search.index import SearchIndex

# A reader further behind than this lists the versions once.
_STEPS = 256


@dataclass(frozen=True, eq=False)
class Level:
    """Memories and links, each at one version, and what answers of the index over them at these."""

    memories: lance.LanceDataset
    links: lance.LanceDataset
    index: Answers

    @property
    def tables(self) -> tuple[lance.LanceDataset, lance.LanceDataset]:
        """Both tables."""
        return self.memories, self.links

    @property
    def versions(self) -> tuple[int, int]:
        """The versions of memories and links."""
        return self.memories.version, self.links.version


@dataclass(frozen=True, eq=False)
class Snapshot(Level):
    """Memories and links, each at one version, and the search index over them.

    A snapshot stays what it is; who moves to other versions makes the next one. Its index goes along with the
    database: rows that it names are looked up in the memories of a snapshot that is taken afterwards, or
    under the write lock.
    """

    index: SearchIndex

    def level(self) -> Level:
        """Return it with the index as it is now, which then does not move; see `OpenDatabase.read`."""
        return Level(self.memories, self.links, self.index.pinned())

    def moved(
        self,
        memories: lance.LanceDataset | None = None,
        links: lance.LanceDataset | None = None,
        index: SearchIndex | None = None,
    ) -> Snapshot:
        """Return the snapshot with what is given in the place of its own; itself where that is the same."""
        # Compared with None, since a dataset without rows is false.
        memories = self.memories if memories is None else memories
        links = self.links if links is None else links
        index = self.index if index is None else index
        same = memories is self.memories and links is self.links and index is self.index
        return self if same else Snapshot(memories, links, index)


def _has(directory: str, version: int) -> bool:
    return os.path.exists(f"{directory}/{manifest(version)}")


def newest(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Return the dataset at its newest version; the same object when it is there already.

    Raises
    ------
    FileNotFoundError
        The table was removed.
    """
    version = newest_version(dataset)
    return dataset if version == dataset.version else dataset.checkout_version(version)


def newest_version(dataset: lance.LanceDataset) -> int:
    """Return the number of the newest version of a table.

    Asking Lance lists every version on disk, which takes milliseconds after some thousand commits. Versions
    are consecutive and only old ones are cleaned up, so a version whose manifest is there and whose
    successor's is not is the newest.

    Raises
    ------
    FileNotFoundError
        The table was removed.
    """
    version, uri = dataset.version, dataset.uri
    for _ in range(_STEPS):
        if not _has(uri, version + 1):
            break
        version += 1
    if not _has(uri, version) or _has(uri, version + 1):
        found = versions(Path(uri))
        if not found:
            raise FileNotFoundError(f"{uri} is gone")
        version = found[0]
    return version


def handle(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Return a second handle, for what Lance does with one that nobody else may use meanwhile.

    That is to write through it, which moves it, while readers keep the snapshot they have, and to read a
    transaction.
    """
    return dataset.checkout_version(dataset.version)
