"""Making a database of a backup, and checking backups."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import lance

from aios_db.backup.lineage import Lineage
from aios_db.backup.manifest import Manifest, TableState
from aios_db.backup.models import install
from aios_db.backup.opening import check_counts, opened
from aios_db.backup.target import Target
from aios_db.disk.failures import operational
from aios_db.engine.catalog.find import find_weights
from aios_db.engine.weights.building import building
from aios_db.engine.weights.files import force_file, force_tree
from aios_db.schema.advice import NO_PLACE
from aios_db.schema.amounts import amount
from aios_db.schema.association_links import TABLE as LINKS
from aios_db.schema.config import Config
from aios_db.schema.database import MARKER, table_path
from aios_db.schema.errors import ModelNotFoundError, OperationalError
from aios_db.schema.homes import expanded
from aios_db.schema.memories import TABLE as MEMORIES
from aios_db.security.permissions import DIRECTORY_MODE
from aios_db.store.marker import keep_copy, parsed
from aios_db.store.repair import repair

logger = logging.getLogger("aios_db.backup")


@dataclass(frozen=True)
class RestoreReport:
    """What `restore` did."""

    id: str
    """The backup."""
    path: str
    """The database."""
    tables: dict[str, TableState]
    files: int
    bytes: int
    installed_models: tuple[str, ...]
    """Directories of models that were made."""
    missing_models: tuple[str, ...]
    """Active weight versions that neither the backup nor this machine has."""


def restore(
    backup: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    backup_id: str | None = None,
    config: Config | None = None,
) -> RestoreReport:
    """Make a database of a backup; it is there whole and checked, or not at all.

    Parameters
    ----------
    backup
        A directory of backups.
    path
        Where the database is to be: a path where there is nothing yet, or an empty directory.
    backup_id
        Which backup; the newest by default.
    config
        Where models are; those that the backup holds and this machine does not are installed there.

    Raises
    ------
    OperationalError
        There is no such backup, or several databases have backups there and ``backup_id`` says none; a file
        of it is damaged (the message names it), there is something at ``path``, or a disk fails.
    """
    target, place = Target(backup), expanded(path).absolute()
    manifest = target.read(backup_id)
    if backup_id is None:
        _check_alone(manifest, target)
    if os.path.lexists(place) and not (place.is_dir() and not any(place.iterdir())):
        raise OperationalError(f"{place} is there already; restore to another path, or move it away first")
    with (
        operational(f"restoring {place}", "nothing is there", NO_PLACE),
        building(place, DIRECTORY_MODE) as making,
    ):
        for entry in manifest.files:
            target.objects.copy(entry, _inside(making, entry.path))
        if not (making / MARKER).is_file():
            raise OperationalError(f"the backup {manifest.id} holds no {MARKER}")
        keep_copy(making, parsed(making / MARKER))
        check_counts(making, manifest.tables)
        if {MEMORIES, LINKS} <= manifest.tables.keys():
            _settle(making)
        force_tree(making)
        installed, missing = _models(manifest, target, config or Config())
        making.rename(place)
        force_file(place.parent)
    return RestoreReport(
        manifest.id, str(place), manifest.tables, len(manifest.files),
        sum(each.size for each in manifest.files), tuple(installed), tuple(missing),
    )  # fmt: skip


def _settle(directory: Path) -> None:
    """Bring the link column to what the links say, and remove links without an end.

    Who wrote while the backup was made writes both a moment after the memories, and is not here to do it.
    """
    memories, links = (lance.dataset(table_path(directory, table)) for table in (MEMORIES, LINKS))
    _, _, mended = repair(memories, links)
    if mended.link_columns or mended.dangling_links:
        logger.info(
            "on their way when the backup was made: %s, %s",
            amount(mended.link_columns, "link column"), amount(mended.dangling_links, "link"),
        )  # fmt: skip


@dataclass(frozen=True)
class Verified:
    """What reading one backup found."""

    id: str
    manifest: Manifest | None
    """None when it cannot be read."""
    faults: tuple[str, ...]
    """What is wrong with it; nothing when it is whole."""


def examine(backup: str | os.PathLike[str], backup_id: str | None = None) -> list[Verified]:
    """Read every file of the backups in a directory, or of one, and open and count their tables.

    Returns
    -------
    list of Verified
        All of them, oldest first, damaged ones with everything that is wrong.

    Raises
    ------
    OperationalError
        There is none.
    """
    target = Target(backup)
    ids = target.ids() if backup_id is None else [backup_id]
    if not ids:
        raise OperationalError(f"{target.path} holds no finished backup")
    known: dict[str, str] = {}
    return [_verified(target, each, known) for each in ids]


def verify(backup: str | os.PathLike[str], backup_id: str | None = None) -> list[Manifest]:
    """Do as `examine`, and raise when a backup is not whole.

    Returns
    -------
    list of Manifest
        The backups, oldest first; all are whole.

    Raises
    ------
    OperationalError
        There is none, or files are missing or damaged; the message names them, and the backups that are
        whole.
    """
    found = examine(backup, backup_id)
    damaged = [each for each in found if each.faults]
    if damaged:
        whole = ", ".join(each.id for each in found if not each.faults) or "none"
        said = "; ".join(f"{each.id}: {', '.join(each.faults)}" for each in damaged)
        raise OperationalError(f"damaged of {amount(len(found), 'backup')}: {said}; whole: {whole}")
    return [each.manifest for each in found if each.manifest is not None]


def _verified(target: Target, backup_id: str, known: dict[str, str]) -> Verified:
    """Read one backup; ``known`` says of each digest that was read before what is wrong with the file."""
    try:
        manifest = target.read(backup_id)
    except OperationalError as error:
        return Verified(backup_id, None, (str(error),))
    for entry in manifest.entries():
        if entry.sha256 not in known:
            try:
                with operational(f"reading {entry.path}"):
                    target.objects.check(entry)
                known[entry.sha256] = ""
            except OperationalError as error:
                known[entry.sha256] = str(error)
    faults = [known[each] for each in dict.fromkeys(entry.sha256 for entry in manifest.entries())]
    faults = [each for each in faults if each]
    if not faults:
        try:
            with opened(manifest, target.objects) as directory:
                check_counts(directory, manifest.tables)
        except OperationalError as error:
            faults = [str(error)]
    return Verified(backup_id, manifest, tuple(faults))


def _check_alone(newest: Manifest, target: Target) -> None:
    """Refuse to choose among backups of several databases, which older versions of aios_db allowed."""
    others = Lineage.of(newest).others(target.readable())
    if others:
        raise OperationalError(
            f"{target.path} has backups of several databases: {newest.id} of {newest.database}, "
            f"{others[0].id} of {others[0].database}; name the one to restore by its id"
        )


def _models(manifest: Manifest, target: Target, config: Config) -> tuple[list[str], list[str]]:
    models_dir = expanded(config.engine.models_dir)
    installed, missing = [], []
    for model in manifest.models:
        if model.files:
            made = install(model, target.objects, models_dir)
            installed += [str(made)] if made else []
        elif model.is_active:
            try:
                find_weights(model.version, [model.version.rpartition("@")[0]], models_dir)
            except ModelNotFoundError:
                missing.append(model.version)
    return installed, missing


def _inside(directory: Path, name: str) -> Path:
    place = directory / name
    if not Path(os.path.normpath(place)).is_relative_to(directory):
        raise OperationalError(f"the backup names the file {name!r}, which is outside of the database")
    return place
