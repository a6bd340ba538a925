"""What this CPU can do: the instruction sets that decide which precisions are worth trying."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

# Name here: the flags of /proc/cpuinfo (x86 "flags", ARM "Features") or of macOS's sysctl that mean it.
_FLAGS: dict[str, tuple[str, ...]] = {
    "avx2": ("avx2", "hw.optional.avx2_0"),
    "avx512": ("avx512f", "hw.optional.avx512f"),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "avx512_bf16": ("avx512_bf16",),
    "amx_bf16": ("amx_bf16",),
    "amx_int8": ("amx_int8",),
    "neon": ("asimd", "hw.optional.neon", "hw.optional.AdvSIMD"),
    "sve": ("sve",),
    "dotprod": ("asimddp", "hw.optional.arm.FEAT_DotProd"),
    "bf16": ("bf16", "hw.optional.arm.FEAT_BF16"),
    "i8mm": ("i8mm", "hw.optional.arm.FEAT_I8MM"),
}


_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class CpuFeatures:
    """The CPU's name and the instruction sets of `_FLAGS` that it has."""

    model: str
    machine: str
    """``platform.machine()``: x86_64, AMD64, aarch64, arm64, …."""
    cores: int
    """Cores this process may use, as `usable_cores`."""
    names: frozenset[str]

    @property
    def is_arm(self) -> bool:
        """Whether this is a 64-bit ARM."""
        return self.machine.lower() in ("aarch64", "arm64")

    @property
    def has_bf16(self) -> bool:
        """Whether bfloat16 products are computed in hardware."""
        return bool(self.names & {"avx512_bf16", "amx_bf16", "bf16"})

    @property
    def has_int8(self) -> bool:
        """Whether 8-bit dot products are computed in hardware."""
        return bool(self.names & {"vnni", "amx_int8", "dotprod", "i8mm"})


@lru_cache(maxsize=1)
def cpu_features() -> CpuFeatures:
    """Return what the CPU of this machine can do, from the operating system; does not import torch."""
    model, flags = _read_macos() if platform.system() == "Darwin" else parse_cpuinfo(_read_cpuinfo())
    return CpuFeatures(
        model=model or platform.processor() or platform.machine(),
        machine=platform.machine(),
        cores=usable_cores(),
        names=features_of(flags),
    )


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return how many cores this process may run on, and not more than its container has time for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """Return the seconds of CPU time that the control group (version 2, or 1) gets in each second."""
    try:
        if (cgroup / "cpu.max").is_file():
            time, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        else:
            time, period = (
                (cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                for name in ("quota", "period")
            )
        return math.inf if time in ("max", "-1") else int(time) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf  # no control group, or not on Linux


def features_of(flags: set[str]) -> frozenset[str]:
    """Return the names of `_FLAGS` that the operating system's ``flags`` mean."""
    return frozenset(name for name, spellings in _FLAGS.items() if flags.intersection(spellings))


def parse_cpuinfo(text: str) -> tuple[str, set[str]]:
    """Return (model name, flags) of the first processor in the text of /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name", "")
    if not model and "CPU part" in fields:  # ARM has no name, but these two identify the core
        model = f"ARM {fields.get('CPU implementer', '')} {fields['CPU part']}"
    return model, set((fields.get("flags") or fields.get("Features") or "").split())


def onednn_report() -> dict[str, str | bool]:
    """Return what torch's oneDNN says: whether it is used, its version of the CPU's capability, bf16."""
    import torch

    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return {
        "onednn": bool(available and torch.backends.mkldnn.enabled),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bf16": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    }


def _read_cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # Windows: nothing is known, so nothing faster than fp32 is assumed


def _read_macos() -> tuple[str, set[str]]:
    try:
        listing = subprocess.run(
            ["/usr/sbin/sysctl", "-a"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "", set()
    return parse_sysctl(listing)


def parse_sysctl(text: str) -> tuple[str, set[str]]:
    """Return (model name, flags that are 1) of the output of ``sysctl -a`` on macOS."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    flags = {key for key, value in values.items() if key.startswith("hw.optional") and value.strip() == "1"}
    return values.get("machdep.cpu.brand_string", "").strip(), flags
