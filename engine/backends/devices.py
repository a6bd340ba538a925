"""Find the device that ``device.target`` names: what is there, and why another is not.

A GPU is looked for without importing torch: its driver leaves a file. So a machine without one does not pay.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.schema.config import DeviceConfig, Target
from aios_db.schema.errors import DeviceError

log = logging.getLogger("aios_db.engine.devices")

# What an NVIDIA driver (also under WSL) and an AMD driver put into /dev.
DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
RENDER_NODES = Path("/dev/dri")


@dataclass(frozen=True)
class Device:
    """Where a model runs."""

    target: Target
    """``cuda``, ``rocm``, ``mps``, ``vulkan``, ``cpu`` or ``arm``; never ``auto``."""
    name: str
    memory_bytes: int = 0
    """Memory of an accelerator; 0 when it is not told, and on the CPU."""
    is_software: bool = False
    """Whether a Vulkan device is a program on the CPU."""

    @property
    def is_cpu(self) -> bool:
        """Whether this is the CPU."""
        return self.target in ("cpu", "arm")

    @property
    def torch_name(self) -> str:
        """The device in torch's words; ROCm builds call it cuda as well."""
        return {"rocm": "cuda", "arm": "cpu"}.get(self.target, self.target)


def find_device(config: DeviceConfig) -> Device:
    """Return the device ``config.target`` asks for, or the CPU, with a warning, when it is not there.

    Raises
    ------
    DeviceError
        It is not there and ``fallback_enabled`` is off.
    """
    if config.target == "auto":
        return _automatic()
    found = PROBES[config.target]()
    if isinstance(found, Device):
        return found
    if not config.fallback_enabled:
        raise DeviceError(f"device.target {config.target}: {found} (device.fallback_enabled is off)")
    log.warning(
        "device.target %s: %s; running on the CPU", config.target, found,
        extra={"event": "device_fallback", "device": config.target},
    )  # fmt: skip
    return cpu_device()


def _automatic() -> Device:
    """Return the best GPU, or the CPU: an integrated or software Vulkan device is no faster."""
    torch_targets: tuple[Target, ...] = ("cuda", "rocm", "mps") if _may_have_torch_device() else ()
    for target in torch_targets:
        found = PROBES[target]()
        if isinstance(found, Device):
            return found
    if RENDER_NODES.is_dir() and find_spec("ncnn") is not None:
        found = _vulkan(discrete=True)
        if isinstance(found, Device):
            return found
    return cpu_device()


def _may_have_torch_device() -> bool:
    return platform.system() != "Linux" or any(Path(file).exists() for file in DRIVER_FILES)


def _cuda() -> Device | str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return _torch_gpu("cuda")


def _rocm() -> Device | str:
    import torch

    if torch.version.hip is None:
        return f"torch {torch.__version__} is built without ROCm"
    return _torch_gpu("rocm")


def _torch_gpu(target: Target) -> Device | str:
    import torch

    if not torch.cuda.is_available():
        return "torch finds no GPU or no driver"
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return Device(target, properties.name, properties.total_memory)


def _mps() -> Device | str:
    import torch

    if not torch.backends.mps.is_available():
        return "this is no Mac with a Metal GPU, or torch is built without MPS"
    return Device("mps", platform.processor() or "Apple GPU", torch.mps.recommended_max_memory())


def _vulkan(discrete: bool = False) -> Device | str:
    if find_spec("ncnn") is None:
        return "ncnn is not installed: pip install 'aios_db[vulkan]'"
    from aios_db.engine.backends.vulkan import vulkan_devices

    devices = vulkan_devices()
    if not devices:
        return "there is no Vulkan driver (on Debian: apt-get install libvulkan1 mesa-vulkan-drivers)"
    best = min(devices, key=lambda device: device.kind_order)
    if discrete and not best.is_discrete:
        return f"{best.name} is no discrete GPU"
    if best.is_software:
        log.warning("the Vulkan device %s is software: it runs on the CPU, and slowly", best.name)
    return Device("vulkan", best.name, best.memory_bytes, best.is_software)


def cpu_device() -> Device:
    """Return the CPU."""
    features = cpu_features()
    return Device("arm" if features.is_arm else "cpu", features.model)


def _arm() -> Device | str:
    device = cpu_device()
    return device if device.target == "arm" else f"this CPU is {platform.machine()}, no 64-bit ARM"


PROBES: dict[str, Callable[[], Device | str]] = {
    "cuda": _cuda,
    "rocm": _rocm,
    "mps": _mps,
    "vulkan": _vulkan,
    "cpu": cpu_device,
    "arm": _arm,
}
"""Each returns the device, or in words why it is not there."""
