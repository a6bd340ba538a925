"""Which versions of a table are kept, and when each was written; damaged ones are stepped over."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lance

from aios_db.disk.durable import manifest, versions
from aios_db.disk.failures import operational
from aios_db.engine.weights.files import force_file
from aios_db.schema.errors import OperationalError, ProgrammingError

if TYPE_CHECKING:
    from lance import LanceDataset

logger = logging.getLogger("aios_db.store")

ASIDE = "_torn"
"""The directory within a table for manifests that are no versions any more."""


@dataclass(frozen=True)
class KeptVersions:
    """The versions of a table whose manifests are there."""

    written: dict[int, int]
    """When each was written, in microseconds since 1970, the oldest first."""
    unreadable: tuple[int, ...] = ()
    """Those whose manifest is damaged, and that are not in ``written``."""

    @classmethod
    def of(cls, dataset: LanceDataset) -> KeptVersions:
        """Look at a table.

        Raises
        ------
        OperationalError
            The disk fails.
        """
        try:
            with operational(f"reading the versions of {dataset.uri}"):
                found = {each["version"]: each["timestamp"] for each in dataset.versions()}
        except OperationalError:
            return cls._one_by_one(dataset)
        return cls({version: _microseconds(found[version]) for version in sorted(found)})

    @classmethod
    def _one_by_one(cls, dataset: LanceDataset) -> KeptVersions:
        table, written, unreadable = Path(dataset.uri), {}, []
        for version in reversed(versions(table)):
            try:
                with operational(f"reading version {version}"):
                    about = dataset.checkout_version(version).get_version()
                written[version] = _microseconds(about["timestamp"])
            except OperationalError:
                if (table / manifest(version)).exists():  # it may have been cleaned up meanwhile
                    unreadable.append(version)
        if unreadable:
            logger.warning(
                "%s: version %s cannot be read and is stepped over; aios doctor --deep names its file",
                table, ", ".join(map(str, unreadable)), extra={"event": "unreadable_versions"},
            )  # fmt: skip
        return cls(written, tuple(unreadable))

    def at(self, time: int) -> int:
        """Return the version that was the newest at a time, in microseconds since 1970.

        Raises
        ------
        OperationalError
            It is kept no longer. Or it cannot be told: the clock went back, so that there was such a time
            more than once, or the version that followed cannot be read.
        """
        oldest, newest = min(self.written), max(self.written)
        removed = {*range(oldest, newest)} - {*self.written, *self.unreadable}
        begun = list(self.written.items())
        found = [each for (each, at), (_, end) in pairwise([*begun, (newest, inf)]) if at <= time < end]
        if time < begun[0][1] and oldest > 1:
            found.insert(0, oldest - 1)
        if found == [newest]:
            return newest
        if len(found) > 1:
            one, other = (f"version {each}" if each >= oldest else "one removed" for each in found[-2:])
            raise OperationalError(
                f"what was known at {as_text(time)} cannot be told: the clock went back, and {one} as well "
                f"as {other} was the newest then; give a version, such as memories_before of a change (FROM "
                "changes)"
            )
        if removed or found == [oldest - 1]:
            raise OperationalError(self.gone(f"what was known at {as_text(time)}"))
        if not found:
            return oldest  # before the first version there was what it holds: nothing
        if found[0] + 1 in self.unreadable:
            raise OperationalError(
                f"what was known at {as_text(time)} cannot be told: version {found[0] + 1}, which cannot be "
                f"read, may have been written by then; version {found[0]} can be had by its number"
            )
        return found[0]

    def among(self, first: int, last: int, time: int) -> int:
        """Return the one of some versions that was the newest at a time; the last where the clock is no help.

        That is ``first`` before the others were written.
        """
        times = [self.written[each] for each in range(first, last + 1) if each in self.written]
        if len(times) <= last - first or times != sorted(times):
            return last
        return max(first, first + bisect_right(times, time) - 1)

    def until(self, version: int) -> int:
        """Return the last microsecond of a version that is not the newest.

        Raises
        ------
        OperationalError
            It cannot be told, since the next version cannot be read.
        """
        if version + 1 in self.unreadable:
            raise OperationalError(
                f"how long version {version} was the newest cannot be told: version {version + 1} cannot "
                "be read"
            )
        return next(at - 1 for each, at in self.written.items() if each > version)

    def gone(self, what: str) -> str:
        """Return the words for something that is kept no longer."""
        oldest = min(self.written)
        return (
            f"{what} is kept no longer: the oldest version is {oldest}, written at "
            f"{as_text(self.written[oldest])}; to look back further from now on, raise "
            "storage.keep_versions_s and storage.keep_versions_bytes"
        )


def check_kept(dataset: LanceDataset, version: int) -> None:
    """Refuse a version of a table that is not there.

    Raises
    ------
    ProgrammingError
        There never was such a version.
    OperationalError
        It is kept no longer, or its manifest is damaged.
    """
    if not 1 <= version <= dataset.version:
        raise ProgrammingError(f"there is no version {version}; there are 1 to {dataset.version}")
    if not (Path(dataset.uri) / manifest(version)).exists():
        raise OperationalError(KeptVersions.of(dataset).gone(f"version {version}"))
    with operational(f"reading version {version} of {dataset.uri}", "aios doctor --deep names its file"):
        dataset.checkout_version(version)


def kept(dataset: LanceDataset, version: int) -> LanceDataset:
    """Return a version of a table; raises as `check_kept`."""
    check_kept(dataset, version)
    return dataset.checkout_version(version)


def remove_versions(dataset: LanceDataset, gone: Sequence[int] | None) -> None:
    """Remove versions, and the files that only they name.

    Lance reads each manifest for it. One that is damaged is set aside, and not deleted.

    Parameters
    ----------
    dataset
        The newest version; the caller holds the lock of compaction.
    gone
        Which; None for all others, and files that no version names, however new.

    Raises
    ------
    OperationalError
        The disk fails.
    """

    def remove() -> None:
        with operational(f"removing old versions of {dataset.uri}"):
            if gone is None:
                dataset.cleanup_old_versions(
                    older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
                )
            else:
                dataset.cleanup_old_versions(versions=list(gone), error_if_tagged_old_versions=False)

    try:
        remove()
    except OperationalError:
        if not _set_aside_unreadable(Path(dataset.uri), dataset.version):
            raise
        remove()


def _set_aside_unreadable(table: Path, newest: int) -> list[int]:
    """Move manifests of older versions that are damaged out of the way; return which."""
    moved = []
    for version in (each for each in versions(table) if each < newest):
        try:
            with operational(f"reading {table / manifest(version)}"):
                lance.dataset(table, version=version)
        except OperationalError:
            path = table / manifest(version)
            if not _can_be_read(path):  # a failing disk says nothing about what is in it
                raise
            (table / ASIDE).mkdir(exist_ok=True)
            path.replace(table / ASIDE / path.name)
            moved.append(version)
    if moved:
        force_file((table / manifest(newest)).parent)
        logger.error(
            "%s: the manifests of versions %s are damaged and lie in %s now; what was known at them is lost, "
            "the newest version is whole",
            table, ", ".join(map(str, moved)), table / ASIDE, extra={"event": "unreadable_versions"},
        )  # fmt: skip
    return moved


def _can_be_read(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def as_text(time: int) -> str:
    """Return a time in microseconds since 1970 in ISO 8601."""
    return datetime.fromtimestamp(time / 1e6, timezone.utc).isoformat(timespec="milliseconds")


def _microseconds(time: Any) -> int:
    return round(float(time.timestamp()) * 1e6)
