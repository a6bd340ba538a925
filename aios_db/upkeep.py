"""What is done with a database as a whole, without a connection: it is checked, repaired, restored."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from aios_db import checking, mending
from aios_db.backup import RestoreReport, restoring
from aios_db.checking import CheckReport
from aios_db.config import GivenConfig, given_config
from aios_db.mending import Repaired
from aios_db.schema.shortage import tells_shortage


@tells_shortage
def check(path: str | PathLike[str], *, config: GivenConfig = None) -> CheckReport:
    """Read all of a database and compare what can be compared; see `aios_db.checking.checking.check`."""
    return checking.check(path, config=given_config(config, path))


@tells_shortage
def repair(
    path: str | PathLike[str],
    *,
    recreate: Sequence[str] = (),
    config: GivenConfig = None,
) -> Repaired:
    """Mend a database as far as nothing can be lost; see `aios_db.mending.repairing.repair`."""
    return mending.repair(path, recreate=recreate, config=given_config(config, path))


@tells_shortage
def restore(
    backup: str | PathLike[str],
    path: str | PathLike[str],
    *,
    backup_id: str | None = None,
    config: GivenConfig = None,
) -> RestoreReport:
    """Make a database at ``path`` of a backup; see `aios_db.backup.restoring.restore`."""
    return restoring.restore(backup, path, backup_id=backup_id, config=given_config(config))
