"""Deleting much at once is to be confirmed, whatever call it is that does it."""

from __future__ import annotations

from aios_db.schema.amounts import amount
from aios_db.schema.config import StorageConfig
from aios_db.schema.errors import ProgrammingError


def check_confirmed(count: int, config: StorageConfig, how: str, *, confirm: bool) -> None:
    """Refuse to delete more memories than `StorageConfig.confirm_forget` unless it is confirmed.

    Parameters
    ----------
    count
        How many memories would be deleted.
    how
        How the call is confirmed in Python, in SQL and in the shell.

    Raises
    ------
    ProgrammingError
        They are too many.
    """
    most = config.confirm_forget
    if not confirm and 0 < most < count:
        raise ProgrammingError(
            f"this would delete {amount(count, 'memory')}, more than {most} (storage.confirm_forget); "
            f"nothing was deleted. To delete them, confirm it: {how}"
        )
