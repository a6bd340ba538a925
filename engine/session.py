"""Run a program where the configuration asks for it, and finish elsewhere if that fails."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.accelerator import (
    Accelerator,
    MemoryThresholdError,
    VramReport,
    is_out_of_memory,
)
from aios_db.engine.backends.protocol import Arrays, Program, Runner
from aios_db.engine.backends.selection import Choice, CpuSelection
from aios_db.engine.devices import Device, find_device
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import DeviceError, Error, NotSupportedError

log = logging.getLogger("aios_db.engine")


class Session:
    """One model, ready to run; safe to use from several threads.

    Nothing is loaded, and no device looked for, before the first use.
    """

    def __init__(self, program: Program, cpu: CpuConfig, device: DeviceConfig) -> None:
        self._program, self._config = program, device
        self._cpu = CpuSelection(program, cpu)
        self._lock = threading.Lock()
        self._accelerator: Runner | None = None
        self._lost = False

    @property
    def choice(self) -> Choice | None:
        """The CPU back end that was chosen; None before the choice."""
        return self._cpu.choice

    @cached_property
    def device(self) -> Device:
        """The device that calls start on.

        Raises
        ------
        DeviceError
            The device is not there and ``fallback_enabled`` is off.
        """
        return find_device(self._config)

    @property
    def is_on_cpu(self) -> bool:
        """Whether calls start on the CPU: there is no other device, or it was lost."""
        return self._lost or self.device.is_cpu

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the program's output for each of ``batches``, all from one device and one back end.

        An accelerator that fails leaves the whole call to the CPU, with a warning; after anything but a lack
        of memory it is not tried again. A back end that fails leaves it to the standard one.

        Raises
        ------
        DeviceError
            The accelerator failed and ``fallback_enabled`` is off.
        """
        if not batches:
            return []
        if not self.is_on_cpu:
            try:
                return self._on_device().run(batches)
            except Error as error:
                if not isinstance(error, DeviceError | NotSupportedError):
                    raise
                self._leave(error)
            except Exception as error:  # whatever the driver's library raises
                self._leave(error)
        return self._on_cpu(batches)

    def tune(self) -> Choice:
        """Measure the CPU back ends now, whether or not a choice is remembered, and use the fastest.

        Takes tens of seconds; otherwise done when a bulk call first makes it worth it.
        """
        self._cpu.tune()
        assert self._cpu.choice is not None
        return self._cpu.choice

    def vram(self) -> VramReport | None:
        """Return the accelerator's memory; None on the CPU, on Vulkan, and before the first run."""
        with self._lock:
            return self._accelerator.vram() if isinstance(self._accelerator, Accelerator) else None

    def device_bytes(self) -> dict[str, int]:
        """Return the bytes of each of the module's parameters on the accelerator, by name."""
        with self._lock:
            accelerator = self._accelerator
            return accelerator.device_bytes() if isinstance(accelerator, Accelerator) else {}

    def _on_cpu(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        runner = self._cpu.runner(items=sum(len(arrays[0]) for arrays in batches))
        if self._cpu.choice is None:
            start = time.perf_counter()
            outputs = runner.run(batches)
            self._cpu.spent(time.perf_counter() - start)
            return outputs
        try:
            return runner.run(batches)
        except Error:
            raise
        except Exception as error:  # whatever the library below raises
            return self._cpu.fail(error).run(batches)

    def _on_device(self) -> Runner:
        with self._lock:
            if self._accelerator is None:
                self._accelerator = self._prepare()
            return self._accelerator

    def _prepare(self) -> Runner:
        if self.device.target == "vulkan":
            from aios_db.engine.backends.vulkan import VulkanBert

            return VulkanBert(self._program)
        import torch

        return Accelerator(self._program, torch.device(self.device.torch_name), self._config)

    def _leave(self, error: Exception) -> None:
        """Note that the device failed with ``error``; the CPU goes on unless falling back is off."""
        transient = isinstance(error, MemoryThresholdError) or is_out_of_memory(error)
        with self._lock:
            if not transient:
                self._lost = True
                self._accelerator = None
            elif isinstance(self._accelerator, Accelerator):
                traceback.clear_frames(error.__traceback__)  # they hold tensors on the device
                with suppress(RuntimeError):
                    self._accelerator.trim()
        where = f"{self.device.target} ({self.device.name})"
        if not self._config.fallback_enabled:
            raise DeviceError(f"{where} failed, and device.fallback_enabled is off: {error}") from error
        log.warning(
            "%s failed, the call is finished on the CPU: %s", where, error,
            extra={"device": self.device.target, "model": self._program.name, "transient": transient},
        )  # fmt: skip
