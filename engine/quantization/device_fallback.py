"""Where a quantization computes: on the GPU that is there, and on the CPU when that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from aios_db.engine.backends.devices import find_device
from aios_db.schema.config import DeviceConfig
from aios_db.schema.errors import DeviceError

log = logging.getLogger("aios_db.engine.quantization")

CPU = torch.device("cpu")
Result = TypeVar("Result")


def on_device(run: Callable[[torch.device], Result], config: DeviceConfig) -> Result:
    """Return what ``run`` returns on the device of ``config``; where it fails there, on the CPU.

    Raises
    ------
    DeviceError
        The device is not there or fails, and ``fallback_enabled`` is off.
    """
    device = find_device(config)
    if device.is_cpu:
        return run(CPU)
    if device.target == "vulkan":
        log.warning(
            "models run on vulkan but are not quantized there: it is done on the CPU",
            extra={"event": "device_fallback", "device": device.target},
        )
        return run(CPU)
    try:
        return run(torch.device(device.torch_name))
    except RuntimeError as error:  # torch's, out of memory or device lost
        where = f"{device.target} ({device.name})"
        if not config.fallback_enabled:
            raise DeviceError(f"{where} failed, and device.fallback_enabled is off: {error}") from error
        log.warning(
            "%s failed, the quantization is continued on the CPU: %s", where, error,
            extra={"event": "device_fallback", "device": device.target},
        )  # fmt: skip
    return run(CPU)
