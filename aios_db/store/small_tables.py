"""Tables beside the memories stay small: merged fragments, and no files of versions long replaced."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import lance

from aios_db.disk.failures import operational
from aios_db.schema.errors import OperationalError
from aios_db.store.compaction import compact_if_due

if TYPE_CHECKING:
    from aios_db.store.opened import OpenDatabase

logger = logging.getLogger("aios_db.store")

_COMMITS = 2  # at most, that one call of those who write here makes


def keep_small(database: OpenDatabase, dataset: lance.LanceDataset) -> None:
    """Compact a table that was just written, and clean it up, every so many commits.

    As of the memories, but here the writer does it, since so few writes need no thread of maintenance, and
    under the database's own lock, which the writer may hold: another would wait for it in vain. What was
    written stays written if it fails; the log says so, and a later commit tries again.
    """
    config = database.config.storage
    if dataset.version % config.compact_after_fragments >= _COMMITS:
        return
    try:
        with operational(f"compacting {dataset.uri}"):
            compact_if_due([dataset], database.lock, database.path, config, {})
    except OperationalError as error:
        logger.warning("%s grows: %s", dataset.uri, error)
