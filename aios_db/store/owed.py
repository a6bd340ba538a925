"""The links that an undo owes once it has committed its memories, in a file until they are written, too.

Lance commits one table at a time. So what `undo` and `restore` are going to write of links is in a file on
the disk before they commit the memories, in a transaction that the file names. Where the process ends between
the two commits, whoever has the write lock next finds both, and writes the links; where the memories were not
committed, nothing was done, and the file goes.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.disk.durable import manifest
from aios_db.disk.framed_log import FramedLog
from aios_db.engine.weights.files import force_file
from aios_db.schema.database import OWED
from aios_db.store.commit import exchange
from aios_db.store.differences import row_ids, rows_at, unlike, where
from aios_db.store.snapshot import handle

logger = logging.getLogger("aios_db.store")

_ABOUT = b"owed"


@dataclass(frozen=True)
class OwedLinks:
    """What is to be written of links, and which commit of memories it belongs to."""

    change_id: int
    counts: Mapping[str, int]
    """What the change does, as in its record."""
    transaction: str
    """The name of the transaction that writes the memories."""
    memories_before: int
    """The version of the memories that it was begun on."""
    memory_ids: Sequence[str]
    """The memories that it brings back, or whose links it deletes: their column of links is to follow."""
    gone: NDArray[np.int64]
    """Row ids of links to delete."""
    back: pa.Table
    """Links to put under their ``_rowid``."""

    def keep(self, directory: Path) -> None:
        """Put it on the disk; the caller holds the write lock.

        Raises
        ------
        OSError
            The disk is full or fails.
        """
        about = {
            "change_id": self.change_id, "counts": dict(self.counts), "transaction": self.transaction,
            "memories_before": self.memories_before, "memory_ids": list(self.memory_ids),
            "gone": self.gone.tolist(),
        }  # fmt: skip
        rows = self.back.replace_schema_metadata({_ABOUT: json.dumps(about).encode()})
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, rows.schema) as writer:
            writer.write_table(rows)
        _file(directory, []).rewrite(buffer.getvalue().to_pybytes())
        force_file(directory)

    def is_due(self, memories: lance.LanceDataset) -> bool:
        """Tell whether the memories were committed; ``memories`` is the newest version of them."""
        written = self.memories_before + 1  # under the write lock, so that it is the next
        if not Path(memories.uri, manifest(written)).exists():
            return False
        found = handle(memories).read_transaction(written)  # Lance lets nobody else read meanwhile
        return found is not None and found.uuid == self.transaction

    def write_to(self, links: lance.LanceDataset) -> lance.LanceDataset:
        """Write what is not written yet; return the version, or ``links`` where all of it is there."""
        gone = row_ids(rows_at(links, self.gone))
        there = rows_at(links, row_ids(self.back))
        same = np.isin(row_ids(self.back), row_ids(there))
        same[same] = ~unlike(where(self.back, same), there)
        back = where(self.back, ~same)
        return exchange(links, gone, back.select(links.schema.names).cast(links.schema), row_ids(back))


def owed_links(directory: Path) -> OwedLinks | None:
    """Return what a broken-off undo still owes; None mostly."""
    if not (directory / OWED).exists():
        return None
    found: list[bytes] = []
    with suppress(IsADirectoryError):
        _file(directory, found).catch_up()
    if not found:
        logger.error(
            "%s is damaged: it says which links an undo was about to write. What that undo wrote of memories "
            "is there; aios repair makes the links anew that are derived, those made by hand are lost",
            directory / OWED, extra={"event": "owed_links_damaged"},
        )  # fmt: skip
        forget_owed(directory)
        return None
    rows = pa.ipc.open_stream(found[0]).read_all()
    about = json.loads(rows.schema.metadata[_ABOUT])
    gone = np.array(about.pop("gone"), np.int64)
    return OwedLinks(**about, gone=gone, back=rows.replace_schema_metadata().combine_chunks())


def forget_owed(directory: Path) -> None:
    """Note that nothing is owed any more."""
    if (directory / OWED).is_dir():  # nothing of aios_db makes one
        shutil.rmtree(directory / OWED)
    (directory / OWED).unlink(missing_ok=True)


def _file(directory: Path, found: list[bytes]) -> FramedLog:
    return FramedLog(directory / OWED, found.clear, found.append)
