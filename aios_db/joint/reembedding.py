"""Memories put into another joint space: beside the vectors in use, and exchanged for them in one commit."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import lance
import numpy as np
import pyarrow as pa

from aios_db.engine.fusion.files import load_space
from aios_db.joint.space import COLUMNS, Active
from aios_db.schema.memories import KEY
from aios_db.store.failures import operational

if TYPE_CHECKING:
    from aios_db.models.versions import WeightVersion
    from aios_db.store.store import MemoryStore

log = logging.getLogger("aios_db.joint")

BATCH = 256
_LAST = 64  # as few as this are embedded while the write lock is held
_BESIDE = "reembed_joint_"
_READ = (
    KEY, "content_hash", "title", "text", "text_embedding", "media", "media_uri", "media_type", "audio",
    "audio_uri", "user_id", "agent_id",
)  # fmt: skip


class JointReembedding:
    """The joint vectors of one store by one space.

    Parameters
    ----------
    store
        Open for writing; it may be used meanwhile.
    version
        The space.
    """

    def __init__(self, store: MemoryStore, version: WeightVersion) -> None:
        self._store = store
        self._active = Active(load_space(Path(version.path))[0], version.version)
        self._path = Path(store.path) / f"{_BESIDE}{version.sha256[:12]}.lance"

    def run(self, progress: Callable[[str], None] = lambda _: None) -> int:
        """Make what is missing, then exchange all vectors and activate the space; return how many have one.

        What a run that was killed left of another space is removed.

        Raises
        ------
        OperationalError
            The disk fails; the old vectors stay in use.
        """
        with operational(f"putting the memories of {self._store.path} into a joint space"):
            for left in Path(self._store.path).glob(f"{_BESIDE}*.lance"):
                if left != self._path:
                    shutil.rmtree(left, ignore_errors=True)
            self._store.refresh()
            while True:
                todo = self._missing(self._store.memories)
                if len(todo) <= _LAST:
                    break
                for start in range(0, len(todo), BATCH):
                    self._embed(self._store.memories, todo[start : start + BATCH])
                    progress(f"memories: {min(start + BATCH, len(todo))} of {len(todo)}")
                self._store.refresh()
            count = self._store.replace_vectors(
                self._finish, lambda: self._store.versions.set_active(self._active.version)
            )
            shutil.rmtree(self._path, ignore_errors=True)
        return count

    def _finish(self, memories: lance.LanceDataset) -> pa.Table:
        """Return the new vectors, all that are to be exchanged; under the write lock."""
        todo = self._missing(memories)
        if todo:
            self._embed(memories, todo)
        if not self._exists():
            return pa.table({KEY: pa.array([], pa.string())})
        made = lance.dataset(self._path).to_table()
        known = memories.to_table(columns=[KEY, "content_hash"])
        keys = set(zip(known[KEY].to_pylist(), known["content_hash"].to_pylist(), strict=True))
        pairs = list(zip(made[KEY].to_pylist(), made["content_hash"].to_pylist(), strict=True))
        keep = [pair in keys for pair in pairs]
        return made.filter(pa.array(keep, pa.bool_())).select([KEY, *COLUMNS])

    def _missing(self, memories: lance.LanceDataset) -> list[int]:
        """Return the row ids of memories that have no vector of the space yet, here or beside."""
        version = self._active.version.replace("'", "''")
        rows = memories.to_table(
            columns=[KEY, "content_hash"],
            filter=f"joint_weight_version IS NULL OR joint_weight_version <> '{version}'",
            with_row_id=True,
        )
        made: set[tuple[str, str]] = set()
        if self._exists():
            beside = lance.dataset(self._path).to_table(columns=[KEY, "content_hash"])
            made = set(zip(beside[KEY].to_pylist(), beside["content_hash"].to_pylist(), strict=True))
        keys = zip(rows[KEY].to_pylist(), rows["content_hash"].to_pylist(), strict=True)
        wanted = np.array([key not in made for key in keys], np.bool_)
        found: list[int] = rows["_rowid"].to_numpy()[wanted].tolist()
        return found

    def _embed(self, memories: lance.LanceDataset, row_ids: list[int]) -> None:
        rows = memories._take_rows(row_ids, columns=list(_READ))
        values = self._store.joint.vectors(rows, self._active)
        schema = {name: memories.schema.field(name).type for name in COLUMNS}
        columns = {
            name: pa.array([each[place] for each in values], schema[name])
            for place, name in enumerate(COLUMNS)
        }
        made = pa.table({KEY: rows[KEY], "content_hash": rows["content_hash"], **columns})
        lance.write_dataset(made, self._path, mode="append" if self._exists() else "create")

    def _exists(self) -> bool:
        versions = self._path / "_versions"
        return versions.is_dir() and any(versions.iterdir())
