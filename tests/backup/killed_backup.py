"""A process that makes a backup and kills itself when it has forced so many files to the disk."""

from __future__ import annotations

import os
import signal
import sys

from backup_helpers import SMALL

from aios_db.backup import backup


def main(database: str, target: str, after: int) -> None:
    force, count = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == after:
            os.kill(os.getpid(), signal.SIGKILL)
        force(descriptor)

    os.fsync = fsync
    backup(database, target, keep=1, config=SMALL)
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
