"""Vectors by another weight version: made beside the ones in use, and exchanged for them in one commit.

The new vectors gather in a Lance table of their own, so that an interrupted run goes on where it was, and
retrieval keeps the old version until every memory has a new vector.
"""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import lance
import pyarrow as pa

from aios_db.disk.failures import operational
from aios_db.models.encoding import Encoder, encode, text_to_embed
from aios_db.schema.amounts import amount
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.memories import CODE_FIELD, KEY
from aios_db.schema.progress import Progress, silent
from aios_db.schema.vectors import as_array

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore

log = logging.getLogger("aios_db.models")

BATCH = 512  # memories embedded between two commits to the side table
_LAST = 64  # as few as this are embedded while the write lock is held
_DOING = "embedding memories"


class Reembedding:
    """The vectors of one store by one encoder; who runs it has the lease of `REEMBEDDING`.

    Parameters
    ----------
    store
        Open for writing; it may be used meanwhile, by this and by other processes.
    encoder
        Makes the new vectors; `encoder.version` is recorded beside them.
    """

    def __init__(self, store: MemoryStore, encoder: Encoder) -> None:
        self._store, self._encoder = store, encoder
        self._version = encoder.version
        digest = self._version.rpartition("@")[2]
        self._path = Path(store.path) / f"reembed_{digest}.lance"

    def run(self, progress: Progress = silent, stop: threading.Event | None = None) -> int:
        """Make what is missing, then exchange all vectors; return how many, or -1 when it was stopped.

        Raises
        ------
        ProgrammingError
            The encoder's vectors have another length than the stored ones.
        OperationalError
            The disk fails; the old vectors stay in use.
        """
        if self._encoder.dimension != self._store.dimension:
            raise ProgrammingError(
                f"{self._version} makes vectors of {self._encoder.dimension} numbers, this database stores "
                f"{self._store.dimension}: a version must have the same"
            )
        with operational(f"embedding the memories of {self._store.path} again"):
            todo = self._store.read(lambda now: self._missing(now.memories))
            total, done = self._store.read(lambda now: self._wanted(now.memories)).num_rows, 0
            while len(todo) > _LAST:
                for start in range(0, len(todo), BATCH):
                    if stop is not None and stop.is_set():
                        return -1
                    self._embed(todo.slice(start, BATCH))
                    done = self._side_rows()
                    progress(_DOING, min(done, total), total)
                # What was remembered meanwhile.
                todo = self._store.read(lambda now: self._missing(now.memories))
            count = self._store.replace_vectors(self._finish)
            shutil.rmtree(self._path, ignore_errors=True)
            progress(_DOING, count, count)
        log.info("embedded %s again", amount(count, "memory"), extra={"version": self._version})
        return count

    def _finish(self, memories: lance.LanceDataset) -> pa.Table:
        """Return the new vectors of ``memories``, all that are to be exchanged; under the write lock."""
        todo = self._missing(memories)
        if len(todo):
            self._embed(todo)
        wanted = self._wanted(memories)
        if not len(wanted):
            return wanted
        return _matching(wanted, lance.dataset(self._path).to_table(), self._version)

    def _wanted(self, memories: lance.LanceDataset) -> pa.Table:
        """Return keys of the memories whose vector is of another version; those without text keep theirs."""
        version = self._version.replace("'", "''")
        rows = memories.to_table(
            columns=[KEY, "content_hash", "title", "text"],
            filter="(text_embedding IS NOT NULL OR text_code IS NOT NULL) AND "
            f"(text_weight_version IS NULL OR text_weight_version <> '{version}')",
        )
        texts = [
            text_to_embed(title, text).strip()
            for title, text in zip(rows["title"].to_pylist(), rows["text"].to_pylist(), strict=True)
        ]
        wordless = sum(not text for text in texts)
        if wordless:
            log.warning("a vector without a text cannot be made again: %s", amount(wordless, "memory"))
        return rows.filter(pa.array([bool(text) for text in texts], pa.bool_()))

    def _missing(self, memories: lance.LanceDataset) -> pa.Table:
        wanted = self._wanted(memories)
        if not self._side_rows():
            return wanted
        made = lance.dataset(self._path).to_table(columns=[KEY, "content_hash"])
        known = set(zip(made[KEY].to_pylist(), made["content_hash"].to_pylist(), strict=True))
        keys = zip(wanted[KEY].to_pylist(), wanted["content_hash"].to_pylist(), strict=True)
        return wanted.filter(pa.array([key not in known for key in keys], pa.bool_()))

    def _embed(self, rows: pa.Table) -> None:
        pairs = zip(rows["title"].to_pylist(), rows["text"].to_pylist(), strict=True)
        texts = [text_to_embed(title, text) for title, text in pairs]
        vectors = as_array(encode(self._encoder, texts, self._store.dimension))
        made = pa.table({KEY: rows[KEY], "content_hash": rows["content_hash"], "text_embedding": vectors})
        lance.write_dataset(made, self._path, mode="append" if self._exists() else "create")

    def _side_rows(self) -> int:
        return int(lance.dataset(self._path).count_rows()) if self._exists() else 0

    def _exists(self) -> bool:
        versions = self._path / "_versions"
        return versions.is_dir() and any(versions.iterdir())


def _matching(wanted: pa.Table, vectors: pa.Table, version: str) -> pa.Table:
    """Return the rows of `memories` that change: key, new vector and its version."""
    keys = zip(vectors[KEY].to_pylist(), vectors["content_hash"].to_pylist(), strict=True)
    place = {key: row for row, key in enumerate(keys)}
    order = [
        place[key] for key in zip(wanted[KEY].to_pylist(), wanted["content_hash"].to_pylist(), strict=True)
    ]
    chosen = vectors.take(pa.array(order, pa.int64()))
    return pa.table(
        {
            KEY: chosen[KEY],
            "text_embedding": chosen["text_embedding"],
            "text_weight_version": pa.array([version] * len(chosen), pa.string()),
            CODE_FIELD.name: pa.nulls(len(chosen), CODE_FIELD.type),
        }
    )
