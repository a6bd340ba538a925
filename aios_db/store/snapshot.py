"""The newest version of a table, found without listing its versions."""

from __future__ import annotations

import os
from pathlib import Path

import lance

from aios_db.store.durable import manifest, versions

# A reader further behind than this lists the versions once.
_STEPS = 256


def _has(directory: str, version: int) -> bool:
    return os.path.exists(f"{directory}/{manifest(version)}")


def newest(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Return the dataset at its newest version; the same object when it is there already.

    Asking Lance lists every version on disk, which takes milliseconds after some thousand commits. Versions
    are consecutive and only old ones are cleaned up, so a version whose manifest is there and whose
    successor's is not is the newest.

    Raises
    ------
    FileNotFoundError
        The table was removed.
    """
    version, uri = dataset.version, dataset.uri
    for _ in range(_STEPS):
        if not _has(uri, version + 1):
            break
        version += 1
    if not _has(uri, version) or _has(uri, version + 1):
        found = versions(Path(uri))
        if not found:
            raise FileNotFoundError(f"{uri} is gone")
        version = found[0]
    return dataset if version == dataset.version else dataset.checkout_version(version)


def handle(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Return a second handle to write through: Lance moves it, and readers keep the snapshot they have."""
    return dataset.checkout_version(dataset.version)
