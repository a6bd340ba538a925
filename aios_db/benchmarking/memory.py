"""How much memory a process holds, its own and that of files, and how much a device."""

from __future__ import annotations

import sys
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

_ROLLUP = Path("/proc/self/smaps_rollup")
_STATUS = Path("/proc/self/status")
_EVERY_S = 0.005


@dataclass(frozen=True)
class Memory:
    """Bytes; None where the system does not tell.

    Attributes
    ----------
    resident, private, shared
        Now: all, what no other process can have, and pages of files, which it shares with every process that
        maps them, too (weights, tables, libraries).
    peak, private_peak, shared_peak
        The most so far; of the last two as `Watching` saw it.
    device, device_peak
        Held on a GPU, where torch has used one.
    """

    resident: int | None
    private: int | None
    shared: int | None
    peak: int | None
    private_peak: int | None = None
    shared_peak: int | None = None
    device: int | None = None
    device_peak: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the sizes by name."""
        return asdict(self)


def resident() -> Memory:
    """Return what this process holds."""
    sizes = _kernel(_ROLLUP)
    whole, private = sizes.get("Rss"), sizes.get("Anonymous")
    shared = None if whole is None or private is None else whole - private
    device, device_peak = _device()
    return Memory(
        whole, private, shared, _kernel(_STATUS).get("VmHWM") or _peak(),
        device=device, device_peak=device_peak,
    )  # fmt: skip


class Watching:
    """A thread that looks at this process's memory again and again, while a block runs."""

    def __init__(self) -> None:
        self._most: tuple[int, int] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="aios-memory", daemon=True)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def found(self) -> Memory:
        """Return what this process holds now, with the peaks of the block."""
        now = resident()
        if self._most is None or now.private is None or now.shared is None:
            return now
        private, shared = self._most
        return replace(now, private_peak=max(private, now.private), shared_peak=max(shared, now.shared))

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            sizes = _kernel(_STATUS)
            if "RssAnon" not in sizes:
                return
            private, shared = self._most or (0, 0)
            files = sizes["RssFile"] + sizes["RssShmem"]
            self._most = max(private, sizes["RssAnon"]), max(shared, files)


def _kernel(path: Path) -> dict[str, int]:
    """Return the sizes that a file of Linux's /proc gives in kB, in bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def _peak() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _device() -> tuple[int | None, int | None]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None, None
    return int(torch.cuda.memory_allocated()), int(torch.cuda.max_memory_allocated())
