"""Run a program on a torch device: CUDA, ROCm or Apple's MPS, with mixed precision and CUDA graphs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.graphs import Graphs, empty_cache
from aios_db.engine.backends.locked_pages import LockedPages
from aios_db.engine.backends.placement import CopyStream, PlacedModule
from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.schema.config import DeviceConfig
from aios_db.schema.errors import DeviceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

log = logging.getLogger("aios_db.engine.backends.accelerator")

CHECK_S = 0.05  # between two looks at the device's memory: asking the driver costs as much as a short pass


class MemoryThresholdError(DeviceError):
    """More of the device's memory is in use than ``device.vram_threshold`` admits."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device's ``error`` is a lack of memory, in the words of torch, cuBLAS or the driver."""
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in text or "alloc_failed" in text


def half_precision(device: torch.device) -> torch.dtype:
    """Return the 16-bit type that ``device`` multiplies fast: bf16, or fp16 on MPS and GPUs before Ampere."""
    import torch

    # By default torch counts the emulation on older GPUs, which is slower than fp32.
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if bf16 else torch.float16


class Accelerator:
    """A program on a torch device; safe to use from several threads, one pass at a time."""

    def __init__(self, program: Program, device: torch.device, config: DeviceConfig) -> None:
        """Copy the weights to ``device`` as far as ``config.vram_budget_bytes`` or the free memory goes."""
        import torch

        self._config = config
        self._is_cuda = device.type == "cuda"
        # With its number: another thread may have another current device.
        self._device = torch.device("cuda", torch.cuda.current_device()) if self._is_cuda else device
        self._lock = threading.Lock()
        self._checked = 0.0
        self._amp: torch.dtype | None = None
        if config.amp and device.type != "cpu":
            self._amp = half_precision(device)
        self._program = program
        self._check_threshold()
        budget = config.vram_budget_bytes
        if self._is_cuda and not budget:
            free, total = torch.cuda.mem_get_info(self._device)
            budget = max(1, int(free - (1 - config.vram_threshold) * total))
        self._pages = LockedPages(program.weights if self._is_cuda else None, self._device)
        with program.hold(), self._current_device():
            program.load()
            stream = CopyStream(self._device) if self._is_cuda else None
            self._placed = PlacedModule(program.module(), self._place, budget, stream, self._dtype_of)
            self._synchronize()
        if not self._placed.streamed_bytes:
            self._pages = LockedPages(None, self._device)  # all is copied: unlocks them
        may_record = self._is_cuda and not self._placed.streamed_bytes
        self._graphs = Graphs(self._device) if may_record else None
        if self._placed.streamed_bytes:
            log.info(
                "%s: %d bytes of weights stay on %s, %d are streamed",
                program.name, self._placed.resident_bytes, device, self._placed.streamed_bytes,
            )  # fmt: skip

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the module's output for each of ``batches``; on CUDA views of pinned memory, without a copy.

        Raises
        ------
        MemoryThresholdError
            Too much of the device's memory is in use.
        RuntimeError
            Whatever torch raises: out of memory, device lost.
        """
        import torch

        outputs: list[Tensor] = []
        with self._lock, self._streaming(), torch.inference_mode(), self._current_device():
            for arrays in batches:
                self.watch()
                output = self._output([self._host(array) for array in arrays])
                host = torch.empty(output.shape, dtype=torch.float32, pin_memory=self._is_cuda)
                outputs.append(host.copy_(output, non_blocking=self._is_cuda))
            self._synchronize()  # once: until here the host only queues
        return [output.numpy() for output in outputs]

    @property
    def device(self) -> torch.device:
        """The torch device."""
        return self._device

    @contextmanager
    def computing(self) -> Iterator[nn.Module]:
        """Hand out the module on the device, for callers that run its parts themselves, one at a time.

        Raises
        ------
        MemoryThresholdError
            Too much of the device's memory is in use.
        """
        import torch

        with (
            self._lock, self._streaming(), torch.inference_mode(), self._current_device(), self._autocast()
        ):  # fmt: skip
            self.watch()
            yield self._placed.module
            self._synchronize()

    def watch(self) -> None:
        """Raise `MemoryThresholdError` when too much of the device's memory is in use; looks now and then."""
        if time.monotonic() - self._checked > CHECK_S:
            self._check_threshold()

    def weights(self) -> tuple[int, int]:
        """Return the bytes of weights that stay on the device, and of those that come and go."""
        return self._placed.resident_bytes, self._placed.streamed_bytes

    def memory(self) -> tuple[int, int, int]:
        """Return the device's bytes: in all, in use by any process, held by tensors of this one."""
        return self._memory()

    def device_bytes(self) -> dict[str, int]:
        """Return the bytes of each of the module's parameters on the device, by name."""
        return self._placed.device_bytes()

    def trim(self) -> None:
        """Give back the device memory that is not weights: graphs, and what torch keeps for reuse."""
        import torch

        with self._lock:
            if self._graphs is not None:
                self._graphs.clear()
            self._placed.drop_fetched()
            if self._is_cuda:
                empty_cache()
            elif self._device.type == "mps":
                torch.mps.empty_cache()

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        """Have the layers that are streamed at hand; views of the mapping always are."""
        if not self._placed.streamed_bytes:
            yield
            return
        with self._program.hold():
            self._program.load()
            yield

    def _current_device(self) -> AbstractContextManager[Any]:
        import torch

        return torch.cuda.device(self._device) if self._is_cuda else nullcontext()

    def _memory(self) -> tuple[int, int, int]:
        import torch

        if self._is_cuda:
            free, total = torch.cuda.mem_get_info(self._device)
            return total, total - free, torch.cuda.memory_allocated(self._device)
        if self._device.type == "mps":
            used = torch.mps.driver_allocated_memory()
            return torch.mps.recommended_max_memory(), used, torch.mps.current_allocated_memory()
        return 0, 0, 0

    def _check_threshold(self) -> None:
        total, used, _ = self._memory()
        admitted = self._config.vram_threshold * total
        if self._is_cuda and used > admitted:
            empty_cache()  # what torch keeps for reuse is not in use
            total, used, _ = self._memory()
        self._checked = time.monotonic()
        if total and used > admitted:
            share = f"{used / total:.0%}, threshold {self._config.vram_threshold:.0%}"
            raise MemoryThresholdError(f"memory of {self._device} is in use: {share}")

    def _host(self, array: NDArray[Any]) -> Tensor:
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory() if self._is_cuda else tensor

    def _place(self, owner: nn.Module, parameter: Tensor) -> Tensor:
        moved = self._pages.view(parameter.detach()).to(self._device, non_blocking=True, copy=True)
        return moved.to(self._dtype_of(owner, parameter))

    def _dtype_of(self, owner: nn.Module, parameter: Tensor) -> torch.dtype:
        """Return the type a parameter has on the device: of matrices, what autocast would convert them to."""
        from torch import nn

        if self._amp is not None and isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            return self._amp
        return parameter.dtype

    def _output(self, inputs: list[Tensor]) -> Tensor:
        if self._graphs is not None:
            return self._graphs.run(self._forward, inputs)
        return self._forward([x.to(self._device, non_blocking=self._is_cuda) for x in inputs])

    def _forward(self, inputs: list[Tensor]) -> Tensor:
        with self._autocast():
            output: Tensor = self._placed.module(*inputs)
        return output

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        if not self._amp:
            return nullcontext()
        # Its cache of converted weights must not outlive a recorded graph; ours are converted already.
        return torch.autocast(self._device.type, self._amp, cache_enabled=False)

    def _synchronize(self) -> None:
        import torch

        if self._is_cuda:
            # Not the whole device: that breaks the recording of a graph in another thread, and fails.
            torch.cuda.current_stream(self._device).synchronize()
        elif self._device.type == "mps":
            torch.mps.synchronize()
