"""Cutting the power of a database that is being written, on a file system of its own.

The file system is ext4 in a file, mounted through a loop device. What the file holds at a moment is what had
reached the disk: a copy of it is what a loss of power would have left, dirty pages and all. Needs root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WRITER = Path(__file__).with_name("power_writer.py")
_DISK = "512M"


def can_cut() -> bool:
    """Tell whether this machine lets us make, mount and copy a file system."""
    return (
        os.name == "posix"
        and os.geteuid() == 0
        and all(shutil.which(each) for each in ("mkfs.ext4", "mount", "umount", "truncate"))
        and Path("/dev/loop-control").exists()
    )


@dataclass(frozen=True)
class Outcome:
    """What one cut left.

    Attributes
    ----------
    opened
        Whether the database could be opened, read whole and written again.
    lost
        Acknowledged rows that are not there.
    lost_synced
        Those of them that were on disk (``sync``) before the last rows were written.
    message
        The last line of what the reader said when it failed, and its warnings otherwise.
    """

    opened: bool
    lost: int
    lost_synced: int
    message: str


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """Mount a file system image."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, at], check=True)
    try:
        yield at
    finally:
        for _ in range(50):
            if subprocess.run(["umount", at], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", at], check=True)


def cut(system: str, folder: Path, *, synced: int = 50, more: int = 60, wait_s: float = 0.0) -> Outcome:
    """Write ``synced`` rows and ``sync``, then ``more``; cut the power ``wait_s`` later; read what is left.

    Parameters
    ----------
    system
        A key of `power_writer.SYSTEMS`.
    folder
        For the two images; a new directory.
    """
    disk, copy = folder / "disk.img", folder / "cut.img"
    subprocess.run(["truncate", "-s", _DISK, disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    with mounted(disk, folder / "before") as place:
        arguments = [sys.executable, WRITER, system, place, "0", str(10**6)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True) as writer:
            assert writer.stdout is not None
            try:
                acknowledged = [int(writer.stdout.readline()) for _ in range(synced)]
                os.sync()
                acknowledged += [int(writer.stdout.readline()) for _ in range(more)]
                time.sleep(wait_s)
            finally:
                os.killpg(writer.pid, signal.SIGSTOP)
            # Nothing of it runs while the copy is made: the copy is of one moment.
            subprocess.run(["cp", "--sparse=always", disk, copy], check=True)
            os.killpg(writer.pid, signal.SIGKILL)
    disk.unlink()
    with mounted(copy, folder / "after") as place:
        arguments = [sys.executable, WRITER, system, place, "read"]
        read = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    copy.unlink()
    lines = read.stderr.strip().splitlines()
    if read.returncode:
        return Outcome(False, len(acknowledged), synced, lines[-1] if lines else f"exit {read.returncode}")
    left = {int(each) for each in read.stdout.split()}
    lost = [each for each in acknowledged if each not in left]
    return Outcome(True, len(lost), sum(each < synced for each in lost), lines[-1] if lines else "")
