"""How much a database holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import lance


@dataclass(frozen=True)
class StoreStats:
    """Counts of one snapshot, and the disk space of all versions that are kept."""

    memories: int
    links: int
    memory_version: int
    link_version: int
    fragments: int
    """Lance fragments of both tables; compaction keeps them few."""
    bytes: int
    """Size of all files of the directory."""


def measure(path: Path, memories: lance.LanceDataset, links: lance.LanceDataset) -> StoreStats:
    """Count the rows of a snapshot and the bytes under ``path``."""
    return StoreStats(
        memories=memories.count_rows(),
        links=links.count_rows(),
        memory_version=memories.version,
        link_version=links.version,
        fragments=len(memories.get_fragments()) + len(links.get_fragments()),
        bytes=sum(_size(os.path.join(root, name)) for root, _, names in os.walk(path) for name in names),
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:  # another process replaced it while this one was counting
        return 0
