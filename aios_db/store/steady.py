"""Reading again where files were removed meanwhile.

Whoever erases or cleans up removes older versions, also those that others read at that moment. Who writes
need not care: what is the newest version under the write lock stays. All others read the newest one again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import lance

from aios_db.store.snapshot import newest_version

logger = logging.getLogger("aios_db.store")

_T = TypeVar("_T")
_TRIES = 8


def again_if_removed(read: Callable[[], _T], tables: Callable[[], Iterable[lance.LanceDataset]]) -> _T:
    """Return what ``read`` returns; call it again while files that it reads are removed.

    Parameters
    ----------
    tables
        Returns what was read, at its version: where that is still the newest, nobody has removed anything.
    """
    for _ in range(_TRIES - 1):
        try:
            return read()
        except Exception as error:
            if not _is_removed(error, tables()):
                raise
            logger.debug("reading the newest version again: %s", error)
    return read()


def _is_removed(error: Exception, tables: Iterable[lance.LanceDataset]) -> bool:
    """Tell whether an error is that of a file that was not found, of a version that is not the newest."""
    missing = "not found" in str(error).lower()  # Lance, Arrow and DuckDB each raise it as another class
    return missing and any(newest_version(each) != each.version for each in tables)
