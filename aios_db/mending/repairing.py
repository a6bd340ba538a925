"""`repair`: what does not open is made anew first, then what is derived."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from aios_db.checking.lookups import COLUMNS, mend_lookups
from aios_db.disk.lock import WriteLock
from aios_db.memory_store import MemoryStore
from aios_db.mending.logs import mend_logs
from aios_db.mending.marker import mend_marker
from aios_db.mending.tables import MadeAnew, damaged_tables, finish, has_rows_to_lose, make_anew
from aios_db.models.following import vector_version
from aios_db.schema import memories, weight_versions
from aios_db.schema.config import Config
from aios_db.schema.database import INDEX, LOCK, table_path
from aios_db.schema.errors import Error, OperationalError, ProgrammingError
from aios_db.schema.homes import expanded
from aios_db.schema.regular import refuse_special
from aios_db.schema.tables import BESIDE
from aios_db.store.change_log import begin_anew
from aios_db.store.directory import step_over_torn
from aios_db.store.marker import read_marker
from aios_db.store.repair import RepairReport

logger = logging.getLogger("aios_db.mending")


@dataclass(frozen=True)
class Repaired:
    """What `repair` did."""

    report: RepairReport | None
    """Of links and what is derived; None where a damaged table keeps the database from being written."""
    marker: str | None
    """How `aios.json` was made anew; None when it was whole."""
    tables: tuple[MadeAnew, ...]
    """Tables made anew."""
    lookups: tuple[str, ...]
    """Tables whose indices over columns were made anew."""
    logs: tuple[str, ...]
    """Logs that were written anew without the records that are damaged."""
    damaged: tuple[str, ...]
    """What is left: tables that have rows to lose, and a joint space whose weights are lost."""


def repair(
    path: str | os.PathLike[str], *, recreate: Sequence[str] = (), config: Config | None = None
) -> Repaired:
    """Mend a database as far as nothing can be lost.

    Made anew are `aios.json`, tables beside the memories that are missing or have no rows, links that lead
    nowhere or were not made, logs with damaged records, and what is derived: the link column, the indices
    over columns where they are damaged, and the search index.

    Parameters
    ----------
    path
        The database directory.
    recreate
        Damaged tables beside the memories that are to be made anew with the rows that can be read, though
        others are lost: ``association_links``, ``weight_versions``, ``validation_reports``, ``lora_cards``,
        ``sync_log``, ``schema_migrations``, ``quarantine_releases``. A whole one stays as it is. The damaged
        one is kept in ``damaged/``.

    Raises
    ------
    ProgrammingError
        There is no such table.
    OperationalError
        There is no database, another process is writing for too long, the memories themselves are damaged
        (see `aios_db.salvage`), or the disk fails.
    """
    config = config or Config()
    directory = expanded(path).absolute()
    for each in recreate:
        if each not in BESIDE:
            raise ProgrammingError(f"repair: {each!r} is none of {', '.join(BESIDE)}")
    if not table_path(directory, memories.TABLE).is_dir():
        raise OperationalError(f"{directory} holds no aios_db database, or its memories are gone")
    refuse_special(directory, directory / INDEX)
    lock = WriteLock(directory / LOCK, config.storage.lock_timeout_s)
    with lock.hold():
        marker = mend_marker(directory)
        read_marker(directory)  # an older format is to be migrated first
        finish(directory)
        found = damaged_tables(directory, step_over_torn(directory, read_only=False, lock=lock))
        anew = [each for each in found if each in recreate or not has_rows_to_lose(directory, each)]
        tables = [make_anew(directory, each) for each in anew]
        if tables:  # versions are counted anew, and the index is not to take one for another
            shutil.rmtree(directory / INDEX, ignore_errors=True)
        logs = mend_logs(directory)
        for each in anew:
            begin_anew(directory, each)
        lookups = tuple(
            each
            for each in COLUMNS
            if (each not in found or each in anew) and mend_lookups(table_path(directory, each))
        )
    left = tuple(
        f"{reason}; --recreate {each} makes it anew of the rows that can be read"
        for each, reason in found.items()
        if each not in anew
    )
    if left:
        return Repaired(None, marker, tuple(tables), lookups, logs, left)
    store = MemoryStore.open(directory, config=config)
    try:
        if weight_versions.TABLE in anew:
            _note_weights(store)
        report = store.repair()
        return Repaired(report, marker, tuple(tables), lookups, logs, _lost_space(store))
    finally:
        store.close()


def _lost_space(store: MemoryStore) -> tuple[str, ...]:
    """Say what is wrong with the weights of the joint space, which lie outside of the database."""
    try:
        store.joint.in_use.active()
    except Error as error:
        return (str(error),)
    return ()


def _note_weights(store: MemoryStore) -> None:
    """Enter the weights that made the vectors into a new table of versions, where they are here."""
    version = vector_version(store.memories)
    if version is None or store.versions.find(version) is not None:
        return
    try:
        store.versions.install(store.versions.located(version))
        store.versions.set_active(version)
    except (Error, OSError) as error:
        logger.warning("the weights %s are to be installed again: %s", version, error)
