"""Run a call on the device that the configuration asks for, and finish it on the CPU if that fails."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TypeVar
from weakref import WeakSet

from aios_db.engine.backends.accelerator import (
    Accelerator,
    MemoryThresholdError,
    is_out_of_memory,
)
from aios_db.engine.backends.devices import Device, cpu_device, find_device
from aios_db.engine.backends.protocol import Program, Runner
from aios_db.engine.backends.vram import VramReport, by_model, idle_report
from aios_db.schema.config import DeviceConfig
from aios_db.schema.errors import DeviceError, Error, NotSupportedError

log = logging.getLogger("aios_db.engine")

Answer = TypeVar("Answer")


_open_sessions: WeakSet[DeviceSession] = WeakSet()


def vram_of_process(config: DeviceConfig) -> list[VramReport]:
    """Return the device memory of each model that this process has open, by device and model.

    Where none is, one report of the device that ``config`` asks for.
    """
    reports = [session.vram() for session in list(_open_sessions)]
    return by_model(reports) or [idle_report(find_device(config))]


class DeviceSession:
    """A model on its device; safe to use from several threads.

    Nothing is loaded, and no device looked for, before the first use.
    """

    def __init__(self, program: Program, device: DeviceConfig) -> None:
        self._program, self._config = program, device
        self._lock = threading.Lock()
        self._accelerator: Runner | None = None
        self._lost = False
        _open_sessions.add(self)

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

    def vram(self) -> VramReport:
        """Return the memory of the device that calls start on; the model has none there before the first."""
        if self._lost:
            return idle_report(cpu_device(), self._program.name)
        with self._lock:
            accelerator = self._accelerator
        if not isinstance(accelerator, Accelerator):
            return idle_report(self.device, self._program.name)
        name = self.device.target, self.device.name
        return VramReport(*name, self._program.name, *accelerator.memory(), *accelerator.weights())

    def device_bytes(self) -> dict[str, int]:
        """Return the bytes of each of the module's parameters on the accelerator, by name."""
        with self._lock:
            accelerator = self._accelerator
            return accelerator.device_bytes() if isinstance(accelerator, Accelerator) else {}

    def _answer(self, on_device: Callable[[Runner], Answer], on_cpu: Callable[[], Answer]) -> Answer:
        """Return what ``on_device`` answers or, where that fails or there is no device, ``on_cpu``.

        After anything but a lack of memory the device is not tried again.

        Raises
        ------
        DeviceError
            The accelerator failed and ``fallback_enabled`` is off.
        """
        if not self.is_on_cpu:
            try:
                return on_device(self._on_device())
            except Error as error:
                if not isinstance(error, DeviceError | NotSupportedError):
                    raise
                self._leave(error)
            except Exception as error:  # whatever the driver's library raises
                self._leave(error)
        return on_cpu()

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
            extra={
                "event": "device_fallback", "device": self.device.target, "model": self._program.name,
                "transient": transient,
            },
        )  # fmt: skip

    def close(self) -> None:
        """Let go of what runs the model, and tell of it no more; a call that goes on keeps it."""
        _open_sessions.discard(self)
        with self._lock:
            self._accelerator = None
