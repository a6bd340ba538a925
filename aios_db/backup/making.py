"""Making a backup."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from aios_db.backup.lineage import Lineage
from aios_db.backup.manifest import Manifest, TableState, next_id
from aios_db.backup.models import copied_models, known_models
from aios_db.backup.objects import Entry, blocks_of
from aios_db.backup.opening import check_counts, opened
from aios_db.backup.pinning import Pinned, pinned
from aios_db.backup.target import Target
from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.models.versions import WeightVersions
from aios_db.schema.advice import NO_PLACE
from aios_db.schema.config import Config
from aios_db.schema.database import LOCK, MARKER
from aios_db.schema.errors import OperationalError, ProgrammingError
from aios_db.schema.homes import expanded
from aios_db.store.marker import identify, is_marker, read_marker
from aios_db.version import __version__

logger = logging.getLogger("aios_db.backup")

KEEP = 7
"""How many backups stay in a directory by default."""
CHECKED_BYTES = 1 << 30
"""How much of what earlier backups hold is read again by each, what was not for longest first."""
_TRIES = 3


@dataclass(frozen=True)
class BackupReport:
    """What `backup` did."""

    id: str
    """The backup's name among those of its directory."""
    path: str
    tables: dict[str, TableState]
    files: int
    bytes: int
    """Of all files of this backup, those that others share included."""
    copied_files: int
    copied_bytes: int
    removed: tuple[str, ...]
    """Older backups that went."""
    removed_bytes: int
    checked_files: int
    """Files that other backups have, too, and that were read again and compared with their digests."""
    checked_bytes: int
    mended: tuple[str, ...]
    """Of these, and of what was copied: damaged ones that were copied anew, which mends the others."""


def backup(
    database: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    keep: int = KEEP,
    models: bool = False,
    config: Config | None = None,
) -> BackupReport:
    """Copy one state of a database into a directory of backups, while others go on writing to it.

    Only files that no backup there has yet are copied; others are read again, up to a GiB by each backup, and
    copied anew when they are damaged. The backup counts when all of them are on the disk,
    checksummed, and its tables were opened and counted; killed before, there is none.

    Parameters
    ----------
    database
        A database directory.
    target
        A directory of backups of this database, or a path where there is nothing yet.
    keep
        How many backups of the directory stay; the oldest go first.
    models
        Copy the models that made the vectors, too. Their names and digests are always noted.
    config
        Where models are, and how long to wait for a writer.

    Raises
    ------
    OperationalError
        There is no such database, another process writes for too long, a disk fails, or the target holds
        something else, or backups of another database.
    ModelNotFoundError
        A model to copy is not on this machine.
    """
    if keep < 1:
        raise ProgrammingError(f"backup: keep is {keep}; at least this one is kept")
    config = config or Config()
    source, place = expanded(database).absolute(), Target(target)
    read_marker(source)
    if place.path.is_relative_to(source):
        raise ProgrammingError(f"backup: {place.path} is inside the database {source}; give another place")
    place.create()
    with place.writing(), operational(f"writing a backup to {place.path}", refused=NO_PLACE):
        for tries in range(_TRIES):
            try:
                return _Backup(source, place, config).make(keep, models=models)
            except FileNotFoundError as error:
                # An aios_db that does not know of this lock may have removed an old version.
                if tries + 1 == _TRIES:
                    raise OperationalError(f"{error.filename} was removed while it was copied") from error
                logger.warning("%s was removed while it was copied; trying again", error.filename)
    raise AssertionError


class _Backup:
    """One attempt."""

    def __init__(self, database: Path, target: Target, config: Config) -> None:
        self._database, self._target, self._config = database, target, config
        self._timeout_s = config.storage.lock_timeout_s
        self._copied_files = self._copied_bytes = 0
        self._checked_files = self._checked_bytes = 0
        self._id = next_id(target.ids())

    def make(self, keep: int, *, models: bool) -> BackupReport:
        """Make the backup; one that is broken off gives the space of its files back."""
        try:
            state, manifest = self._made(models=models)
        except BaseException:
            if self._id not in self._target.ids():
                self._target.objects.take_back()
            raise
        removed, removed_bytes = self._prune(keep)
        return BackupReport(
            self._id, str(self._target.path), state.tables, len(list(manifest.entries())),
            sum(each.size for each in manifest.entries()), self._copied_files, self._copied_bytes,
            removed, removed_bytes, self._checked_files, self._checked_bytes,
            tuple(self._target.objects.mended),
        )  # fmt: skip

    def _made(self, *, models: bool) -> tuple[Pinned, Manifest]:
        versions = WeightVersions(
            self._database, WriteLock(self._database / LOCK, self._timeout_s), self._config
        )
        with pinned(self._database, self._timeout_s) as state:
            database_id = self._identity(state)
            files = self._copy(state)
            known = copied_models(versions, self._add) if models else known_models(versions)
        manifest = Manifest(
            id=self._id, database=str(self._database), made_by=__version__,
            tables=state.tables, files=tuple(files), models=tuple(known),
            database_id=database_id,
        )  # fmt: skip
        with opened(manifest, self._target.objects) as directory:
            check_counts(directory, manifest.tables)
        self._target.add(manifest)
        return state, manifest

    def _identity(self, state: Pinned) -> str | None:
        """Return which database this is, and refuse a target that has backups of another one.

        A database of an older aios_db gets an identity here; one that cannot be written to stays without.
        """
        marker = read_marker(self._database)
        known = marker.database_id
        lineage = Lineage(known, str(self._database), state.unchanging + state.others)
        if others := lineage.others(self._target.readable()):
            raise OperationalError(
                f"{self._target.path} has backups of another database, that of {others[0].database} "
                f"({others[0].id}), and not of {self._database}; give each database a directory of its own"
            )
        if not is_marker(state.contents.get(MARKER)):  # it is read off its copy
            state.contents[MARKER] = json.dumps(asdict(marker), indent=2).encode()
        if known or not os.access(self._database, os.W_OK):
            return known
        lock = WriteLock(self._database / LOCK, self._timeout_s)
        found = identify(self._database, lineage.database_id or uuid4().hex, lock)
        state.contents[MARKER] = (self._database / MARKER).read_bytes()
        return found

    def _copy(self, state: Pinned) -> list[Entry]:
        known = self._known()
        found = [
            self._stored(*self._target.objects.add(name, [each])) for name, each in state.contents.items()
        ]
        there = {
            name: before for name in state.unchanging
            if (before := known.get((name, (self._database / name).stat().st_size)))
            and self._target.objects.has(before)
        }  # fmt: skip
        damaged = self._read_again(list(there.values()))
        for name in state.unchanging:
            if name in there and there[name] not in damaged:
                found.append(there[name])
                continue
            found.append(self._add(name, self._database / name))
            if name in there and found[-1].sha256 != there[name].sha256:
                logger.warning(
                    "%s is not what it was when it was backed up last, and never changes: look with "
                    "aios doctor --deep", self._database / name,
                )  # fmt: skip
        return found + [self._add(name, self._database / name) for name in state.others]

    def _read_again(self, entries: list[Entry]) -> set[Entry]:
        """Read files of the backups that are to be used again, those that were not for longest first.

        Returns
        -------
        set of Entry
            Those that are damaged.
        """
        objects, damaged = self._target.objects, set()
        for each in sorted(entries, key=objects.looked_at):
            if self._checked_bytes and self._checked_bytes + each.size > CHECKED_BYTES:
                break
            self._checked_files += 1
            self._checked_bytes += each.size
            if not objects.is_sound(each):
                damaged.add(each)
        return damaged

    def _add(self, name: str, path: Path) -> Entry:
        return self._stored(*self._target.objects.add(name, blocks_of(path)))

    def _stored(self, entry: Entry, is_new: bool) -> Entry:
        self._copied_files += is_new
        self._copied_bytes += entry.size * is_new
        return entry

    def _known(self) -> Mapping[tuple[str, int], Entry]:
        """Return what the last backup holds, by path and size."""
        ids = self._target.ids()
        if not ids:
            return {}
        try:
            return {(each.path, each.size): each for each in self._target.read(ids[-1]).files}
        except OperationalError as error:
            logger.warning("the last backup is of no use to this one: %s", error)
            return {}

    def _prune(self, keep: int) -> tuple[tuple[str, ...], int]:
        """Remove backups beyond the newest ``keep``, and the files that only they had."""
        ids = self._target.ids()
        removed, kept = ids[:-keep], ids[-keep:]
        try:
            entries = [entry for each in kept for entry in self._target.read(each).entries()]
        except OperationalError as error:
            logger.warning("nothing is removed from %s: %s", self._target.path, error)
            return (), 0
        for each in removed:
            self._target.remove(each)
        return tuple(removed), self._target.objects.prune(entries)
