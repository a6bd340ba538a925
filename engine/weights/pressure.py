"""How much memory is left: of the machine, and of the control groups this process is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MOST = 1 << 30
"""More than so many bytes available is no pressure, however large the machine is."""


@dataclass(frozen=True)
class Memory:
    """What this process may still take; sizes in bytes."""

    available: int
    """Without swapping; the file cache counts, since it makes room."""
    total: int
    """Of the machine, or of the control group that leaves less."""


@dataclass(frozen=True)
class Pressure:
    """When memory is short.

    Parameters
    ----------
    least_share
        Memory is short when less than this share of it is available; 0 is never.
    read
        Returns how much there is; None where that is not told.
    """

    least_share: float
    read: Callable[[], Memory | None]

    def is_high(self) -> bool:
        """Whether less is available than should be."""
        memory = self.read() if self.least_share else None
        return memory is not None and memory.available < min(MOST, self.least_share * memory.total)


def read_memory(root: Path = Path("/")) -> Memory | None:
    """Return what is left of the machine or of a control group (version 1 or 2), whichever has less.

    Read from ``/proc/meminfo`` and ``/sys/fs/cgroup``; None where there is neither, as on macOS.
    """
    found = [memory for memory in (_machine(root), *_groups(root)) if memory is not None]
    return min(found, key=lambda memory: memory.available, default=None)


def _machine(root: Path) -> Memory | None:
    sizes = _numbers(root / "proc/meminfo")
    if not {"MemAvailable:", "MemTotal:"} <= sizes.keys():
        return None
    return Memory(1024 * sizes["MemAvailable:"], 1024 * sizes["MemTotal:"])


def _groups(root: Path) -> Iterator[Memory | None]:
    """Yield what each control group leaves, the process's own and those around it."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for top in (mounted, mounted / "unified"):
                yield from _along(top, path, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            yield from _along(
                mounted / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
            )


def _along(top: Path, path: str, limit: str, usage: str, prefix: str) -> Iterator[Memory | None]:
    # A container may see its own group as the top, under a path that is only outside of it.
    group = top.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
    for each in (group, *group.parents):
        if each.is_relative_to(top):
            yield _group(each, limit, usage, prefix)


def _group(group: Path, limit: str, usage: str, prefix: str) -> Memory | None:
    try:
        most = int((group / limit).read_text(encoding="ascii"))
        used = int((group / usage).read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None
    parts = _numbers(group / "memory.stat")
    cache = sum(parts.get(f"{prefix}{name}", 0) for name in ("active_file", "inactive_file"))
    return Memory(max(0, most - used + cache), most)


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file of lines that begin with a name and a number."""
    try:
        rows = (line.split() for line in path.read_text(encoding="ascii").splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
    except (OSError, ValueError):
        return {}
