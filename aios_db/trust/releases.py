"""What was released from quarantine: read where it is wanted, written under the write lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import lance
import pyarrow as pa

from aios_db.disk.failures import DAMAGED, operational
from aios_db.schema.quarantine_releases import KEY, SCHEMA

if TYPE_CHECKING:
    from lance import LanceDataset


class Releases:
    """Returns, when called, the fingerprint of the text that was released of each memory.

    Parameters
    ----------
    newest
        Returns the newest version of the table; None where it cannot be read, and nothing is released.
    """

    def __init__(self, newest: Callable[[], LanceDataset | None]) -> None:
        self._newest = newest
        self._read: tuple[int, Mapping[str, str]] = (-1, {})

    def __call__(self) -> Mapping[str, str]:
        """Return the fingerprints by memory_id, of the newest version of the table."""
        dataset = self._newest()
        if dataset is None:
            return {}
        version, found = self._read
        if version != dataset.version:
            with operational(f"reading {dataset.uri}", DAMAGED):
                rows = dataset.to_table(columns=["memory_id", "fingerprint"])
                found = dict(zip(rows["memory_id"].to_pylist(), rows["fingerprint"].to_pylist(), strict=True))
            self._read = dataset.version, found
        return found


@dataclass(frozen=True)
class Release:
    """That a memory was let out of quarantine."""

    memory_id: str
    fingerprint: str
    """Of the text that it had."""
    reason: str
    """Why it was held."""
    released_at: datetime


def add(dataset: LanceDataset, released: Sequence[Release]) -> LanceDataset:
    """Write releases; return the version written."""
    rows = [asdict(each) for each in released]
    written = lance.dataset(dataset.uri)
    again = written.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
    again.execute(pa.Table.from_pylist(rows, schema=SCHEMA))
    return written
