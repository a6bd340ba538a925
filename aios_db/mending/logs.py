"""Logs with damaged records written anew of those that can be read."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

from aios_db.disk.failures import operational
from aios_db.disk.framed_log import FramedLog, damaged_bytes
from aios_db.schema.database import CHANGES, DAMAGED, LLM_REQUESTS, QUERIES, RECALLS
from aios_db.security.permissions import DIRECTORY_MODE

_LOGS = (RECALLS, CHANGES, QUERIES, LLM_REQUESTS)


def mend_logs(directory: Path) -> tuple[str, ...]:
    """Write the damaged logs of a database anew, and keep them in ``damaged/``; return which they were.

    What the damaged records said is lost already. The caller holds the write lock.

    Raises
    ------
    OperationalError
        The disk fails; the log is as it was.
    """
    return tuple(each for each in _LOGS if (directory / each).is_file() and _mend(directory / each))


def _mend(path: Path) -> bool:
    contents: list[bytes] = []
    log = FramedLog(path, contents.clear, contents.append)
    # Changes are logged under the write lock.
    with operational(f"writing {path} anew"), nullcontext() if path.name == CHANGES else log.writing():
        if not damaged_bytes(path):
            return False
        log.catch_up()
        aside = path.parent / DAMAGED
        aside.mkdir(DIRECTORY_MODE, exist_ok=True)
        shutil.copy2(path, aside / path.name)
        log.rewrite(*contents)
    return True
