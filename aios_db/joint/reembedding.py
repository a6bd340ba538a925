"""Memories put into a joint space: beside the vectors in use, and exchanged for them in one commit."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import lance
import numpy as np
import pyarrow as pa

from aios_db.disk.failures import operational
from aios_db.disk.lease import lease
from aios_db.joint.usable import Active
from aios_db.joint.vectors import COLUMNS
from aios_db.schema.amounts import amount
from aios_db.schema.database import JOINT_REEMBEDDING
from aios_db.schema.memories import KEY
from aios_db.schema.modalities import UNREAD, made_by
from aios_db.schema.progress import Progress, silent

if TYPE_CHECKING:
    from aios_db.store.opened import OpenDatabase

log = logging.getLogger("aios_db.joint")

_T = TypeVar("_T")
Exchange = Callable[[Callable[[lance.LanceDataset], pa.Table], Callable[[], object]], int]
"""Given what makes new vectors, and what is called after their commit; returns how many there were."""

_MOST = 256  # memories embedded between two commits to the side table
_LONG_S = 2.0  # a kill or an interrupt costs about what is embedded in this
_ROUNDS = 3  # without the write lock; what was written meanwhile is embedded while it is held
_LAST = 64  # more than this are never embedded while it is held
_BESIDE = "reembed_joint_"
_READ = (
    KEY, "content_hash", "title", "text", "text_embedding", "media", "media_uri", "media_type", "audio",
    "audio_uri", "user_id", "agent_id",
)  # fmt: skip
_RECORDED = COLUMNS[-1]
PICTURED = "array_contains(modalities, 'image')"
"""The memories that CLIP's own space has vectors of."""


class JointReembedding:
    """The joint vectors of one database by one space; who runs it has the lease of `JOINT_REEMBEDDING`.

    Parameters
    ----------
    database
        Open for writing; it may be used meanwhile.
    exchange
        Exchanges vectors in one commit, see `Upkeep.replace_vectors`.
    active
        The space.
    again
        Whether memories of which nothing could be read for this space are tried again.
    """

    def __init__(
        self, database: OpenDatabase, exchange: Exchange, active: Active, *, again: bool = False
    ) -> None:
        self._database, self._exchange, self._active = database, exchange, active
        digest = active.version.rpartition("@")[2]
        self._path = Path(database.path) / f"{_BESIDE}{digest}.lance"
        version = active.version.replace("'", "''")
        tried = f"({_RECORDED} = '{version}' OR starts_with({_RECORDED}, '{version} {UNREAD}'))"
        self._filter = f"{_RECORDED} IS NULL OR NOT {tried}"
        if again:
            self._filter += f" OR {COLUMNS[0]} IS NULL OR contains({_RECORDED}, ' {UNREAD}')"
        if active.space.untrained:
            self._filter = f"({self._filter}) AND {PICTURED}"

    def run(self, progress: Progress = silent, then: Callable[[], object] = lambda: None) -> int:
        """Make what is missing, then exchange all vectors; return how many were made.

        What a run that was killed left of another space is removed.

        Parameters
        ----------
        progress
            Called with what is being done.
        then
            Called after the exchange, before anybody else may write.

        Raises
        ------
        OperationalError
            The disk fails, or the statement has no time left; the old vectors stay in use, and what was made
            lies beside them for whoever goes on.
        """
        with operational(f"putting the memories of {self._database.path} into a joint space"):
            for left in Path(self._database.path).glob(f"{_BESIDE}*.lance"):
                if left != self._path:
                    shutil.rmtree(left, ignore_errors=True)
            rounds = 0
            while (todo := self._read(self._missing)) and (rounds < _ROUNDS or len(todo) > _LAST):
                self._embed_beside(todo, progress)
                rounds += 1
            count = self._exchange(self._finish, then)
            shutil.rmtree(self._path, ignore_errors=True)
        return count

    def can_improve(self) -> bool:
        """Tell whether there are memories that this process can put into the space, or more of them."""
        rows = self._read(lambda memories: memories.to_table(columns=[_RECORDED], filter=self._filter))
        recorded = [each.as_py() for each in rows[_RECORDED].unique()]
        missing: set[str] = set()
        for each in recorded:
            version, lacking = (None, ()) if each is None else made_by(each)
            if version != self._active.version:
                return True
            missing |= set(lacking) & self._active.space.encoders.keys()
        in_use = self._database.joint.in_use
        return any(in_use.has_encoder(self._active, each) for each in missing)

    def _read(self, how: Callable[[lance.LanceDataset], _T]) -> _T:
        return self._database.read(lambda now: how(now.memories))

    def _embed_beside(self, todo: list[int], progress: Progress) -> None:
        """Embed memories, by row id; as many between two commits as their encoders do in a short time."""
        done, size = 0, 1
        while done < len(todo):
            began = time.monotonic()
            self._embed(self._read(partial(_taken, row_ids=todo[done : done + size])))
            done = min(done + size, len(todo))
            progress("memories", done, len(todo))
            short = 2 * (time.monotonic() - began) <= _LONG_S
            size = min(2 * size, _MOST) if short else max(size // 2, 1)

    def _finish(self, memories: lance.LanceDataset) -> pa.Table:
        """Return the new vectors, all that are to be exchanged; under the write lock."""
        todo = self._missing(memories)
        if todo:
            self._embed(_taken(memories, todo))
        if not self._exists():
            return pa.table({KEY: pa.array([], pa.string())})
        made = lance.dataset(self._path).to_table()
        wanted = memories.to_table(columns=[KEY, "content_hash"], filter=self._filter)
        keys = set(zip(wanted[KEY].to_pylist(), wanted["content_hash"].to_pylist(), strict=True))
        pairs = list(zip(made[KEY].to_pylist(), made["content_hash"].to_pylist(), strict=True))
        last = {pair: place for place, pair in enumerate(pairs)}  # processes at once may have made one twice
        keep = [pair in keys and last[pair] == place for place, pair in enumerate(pairs)]
        return made.filter(pa.array(keep, pa.bool_())).select([KEY, *COLUMNS])

    def _missing(self, memories: lance.LanceDataset) -> list[int]:
        """Return the row ids of memories that have no vector of the space yet, here or beside."""
        rows = memories.to_table(columns=[KEY, "content_hash"], filter=self._filter, with_row_id=True)
        made: set[tuple[str, str]] = set()
        if self._exists():
            beside = lance.dataset(self._path).to_table(columns=[KEY, "content_hash"])
            made = set(zip(beside[KEY].to_pylist(), beside["content_hash"].to_pylist(), strict=True))
        keys = zip(rows[KEY].to_pylist(), rows["content_hash"].to_pylist(), strict=True)
        wanted = np.array([key not in made for key in keys], np.bool_)
        found: list[int] = rows["_rowid"].to_numpy()[wanted].tolist()
        return found

    def _embed(self, rows: pa.Table) -> None:
        values = self._database.joint.memories.vectors(rows, self._active)
        stored = self._database.snapshot.memories.schema
        schema = {name: stored.field(name).type for name in COLUMNS}
        columns = {
            name: pa.array([each[place] for each in values], schema[name])
            for place, name in enumerate(COLUMNS)
        }
        made = pa.table({KEY: rows[KEY], "content_hash": rows["content_hash"], **columns})
        lance.write_dataset(made, self._path, mode="append" if self._exists() else "create")

    def _exists(self) -> bool:
        versions = self._path / "_versions"
        return versions.is_dir() and any(versions.iterdir())


def _taken(memories: lance.LanceDataset, row_ids: list[int]) -> pa.Table:
    """Return what is read of those memories that are there."""
    return memories._take_rows(row_ids, columns=list(_READ))


def remove_left(directory: Path, work: str) -> None:
    """Remove the vectors that a process which is gone has left beside the memories, unless one is at it.

    Parameters
    ----------
    work
        Whose vectors: `REEMBEDDING` or `JOINT_REEMBEDDING`.
    """
    joint = work == JOINT_REEMBEDDING
    left = [each for each in directory.glob("reembed_*.lance") if each.name.startswith(_BESIDE) == joint]
    if not left:
        return
    with lease(directory / work, waiting=False) as mine:
        for each in left if mine else ():
            shutil.rmtree(each, ignore_errors=True)


def complete_vectors(database: OpenDatabase, exchange: Exchange, *, waiting: bool = True) -> int:
    """Put memories into the space in use that are not in it, or not whole; return how many.

    One thread of one process does so at a time; another finds what it has left, or, not ``waiting``, does
    nothing.

    Such are those written where an encoder or the weights of the space were missing, and those that an undo
    or a restore brought back with the vectors of an earlier space. Where only a part of the memories is seen,
    or their files may not be read, that is left to others.
    """
    joint = database.joint
    if database.scope or not database.restrictions.external_access:
        return 0
    if joint.in_use.version is None and not joint.clip.is_wanted():
        return 0
    with lease(database.path / JOINT_REEMBEDDING, waiting=waiting) as mine:
        return _complete(database, exchange) if mine else 0


def _complete(database: OpenDatabase, exchange: Exchange) -> int:
    joint = database.joint
    database.refresh()  # another process may have done it while this one waited
    if joint.clip.is_wanted() and database.read(lambda now: now.memories.count_rows(PICTURED)):
        fresh = joint.clip.fresh()
        if fresh is not None:
            work = JointReembedding(database, exchange, fresh, again=True)
            return _told(work.run(then=lambda: joint.clip.activate(fresh)), fresh)
    active = joint.in_use.usable()
    if active is None:
        return 0
    work = JointReembedding(database, exchange, active)
    if not work.can_improve():
        return 0
    return _told(work.run(), active)


def _told(count: int, active: Active) -> int:
    log.info("put into the joint space: %s", amount(count, "memory"), extra={"version": active.version})
    return count
