"""How much memory a process holds, its own and shared, and how much a device."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_ROLLUP = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True)
class Memory:
    """Bytes; None where the system does not tell.

    Attributes
    ----------
    resident, private, shared
        Now: all, what no other process has, and what others may have (mapped weights, libraries).
    peak
        The most that was resident so far.
    device, device_peak
        Held on a GPU, where torch has used one.
    """

    resident: int | None
    private: int | None
    shared: int | None
    peak: int | None
    device: int | None = None
    device_peak: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the sizes by name."""
        return asdict(self)


def resident() -> Memory:
    """Return what this process holds."""
    sizes = _kernel(_ROLLUP)
    private = sum(sizes.get(name, 0) for name in ("Private_Clean", "Private_Dirty"))
    shared = sum(sizes.get(name, 0) for name in ("Shared_Clean", "Shared_Dirty"))
    device, device_peak = _device()
    return Memory(
        sizes.get("Rss"),
        private if sizes else None,
        shared if sizes else None,
        _kernel(Path("/proc/self/status")).get("VmHWM") or _peak(),
        device,
        device_peak,
    )


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
