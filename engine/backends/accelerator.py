"""Run a program on a torch device: CUDA, ROCm or Apple's MPS, with mixed precision and CUDA graphs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.locked_pages import LockedPages
from aios_db.engine.backends.placement import CopyStream, PlacedModule
from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.schema.config import DeviceConfig
from aios_db.schema.errors import DeviceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

log = logging.getLogger("aios_db.engine.backends.accelerator")

MAX_GRAPHS = 64  # shapes recorded as CUDA graphs; a shape is recorded when it comes a second time
CHECK_S = 0.05  # between two looks at the device's memory: asking the driver costs as much as a short pass
_RECORDING = threading.Lock()  # torch records graphs on one stream, whichever thread asks


class MemoryThresholdError(DeviceError):
    """More of the device's memory is in use than ``device.vram_threshold`` admits."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device's ``error`` is a lack of memory, in the words of torch, cuBLAS or the driver."""
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in text or "alloc_failed" in text


@dataclass(frozen=True)
class VramReport:
    """Memory of the accelerator, in bytes."""

    total: int
    used: int
    """In use by every process on the device."""
    allocated: int
    """Held by tensors of this process."""
    resident_weights: int
    """Weights of the model that stay on the device."""
    streamed_weights: int
    """Weights that are copied from the mapping in each pass."""


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
            bf16 = self._is_cuda and torch.cuda.is_bf16_supported()
            self._amp = torch.bfloat16 if bf16 else torch.float16
        self._program = program
        program.load()
        self._check_threshold()
        budget = config.vram_budget_bytes
        if self._is_cuda and not budget:
            free, total = torch.cuda.mem_get_info(self._device)
            budget = max(1, int(free - (1 - config.vram_threshold) * total))
        self._pages = LockedPages(program.weights if self._is_cuda else None, self._device)
        with self._current_device():
            stream = CopyStream(self._device) if self._is_cuda else None
            self._placed = PlacedModule(program.module(), self._place, budget, stream)
            self._synchronize()
        if not self._placed.streamed_bytes:
            self._pages = LockedPages(None, self._device)  # all is copied: unlocks them
        self._seen: set[tuple[Any, ...]] = set()
        self._graphs: dict[tuple[Any, ...], tuple[Any, list[Tensor], Tensor]] = {}
        self._graph_memory: Any = None
        self._may_graph = self._is_cuda and not self._placed.streamed_bytes
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
        with self._lock, torch.inference_mode(), self._current_device():
            if self._placed.streamed_bytes:
                self._program.load()  # what was released since; views of the mapping never are
            for arrays in batches:
                if time.monotonic() - self._checked > CHECK_S:
                    self._check_threshold()
                output = self._forward([self._upload(array) for array in arrays])
                host = torch.empty(output.shape, dtype=torch.float32, pin_memory=self._is_cuda)
                outputs.append(host.copy_(output, non_blocking=self._is_cuda))
            self._synchronize()  # once: until here the host only queues
        return [output.numpy() for output in outputs]

    def vram(self) -> VramReport:
        """Return the memory of the device."""
        total, used, allocated = self._memory()
        return VramReport(total, used, allocated, self._placed.resident_bytes, self._placed.streamed_bytes)

    def device_bytes(self) -> dict[str, int]:
        """Return the bytes of each of the module's parameters on the device, by name."""
        return self._placed.device_bytes()

    def trim(self) -> None:
        """Give back the device memory that is not weights: graphs, and what torch keeps for reuse."""
        import torch

        with self._lock:
            self._graphs.clear()
            self._graph_memory = None
            self._placed.drop_fetched()
            if self._is_cuda:
                torch.cuda.empty_cache()
            elif self._device.type == "mps":
                torch.mps.empty_cache()

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
        self._checked = time.monotonic()
        if total and used > self._config.vram_threshold * total:
            share = f"{used / total:.0%}, threshold {self._config.vram_threshold:.0%}"
            raise MemoryThresholdError(f"memory of {self._device} is in use: {share}")

    def _upload(self, array: NDArray[Any]) -> Tensor:
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self._is_cuda:
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _place(self, owner: nn.Module, parameter: Tensor) -> Tensor:
        """Copy a parameter; matrices to the precision that autocast would convert them to in each pass."""
        from torch import nn

        moved = self._pages.view(parameter.detach()).to(self._device, non_blocking=True, copy=True)
        if self._amp is not None and isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            return moved.to(self._amp)
        return moved

    def _forward(self, inputs: list[Tensor]) -> Tensor:
        if not self._may_graph:
            return self._eager(inputs)
        shape = tuple((x.shape, x.dtype) for x in inputs)
        if shape not in self._graphs:
            if shape not in self._seen or len(self._graphs) >= MAX_GRAPHS:
                self._seen.add(shape)
                return self._eager(inputs)
            try:
                self._graphs[shape] = self._record(inputs)
            except RuntimeError as error:
                log.warning("CUDA graphs are not used: %s", error)
                self._may_graph = False
                return self._eager(inputs)
        graph, static, output = self._graphs[shape]
        for held, fresh in zip(static, inputs, strict=True):
            held.copy_(fresh, non_blocking=True)
        graph.replay()
        return output

    def _eager(self, inputs: list[Tensor]) -> Tensor:
        import torch

        amp = self._amp
        # Autocast's cache of converted weights must not outlive a recorded graph; ours are converted already.
        context = torch.autocast(self._device.type, amp, cache_enabled=False) if amp else nullcontext()
        with context:
            output: Tensor = self._placed.module(*inputs)
        return output

    def _record(self, inputs: list[Tensor]) -> tuple[Any, list[Tensor], Tensor]:
        """Record one pass over inputs of this shape: replaying it spares the launch of each kernel."""
        import torch

        static = [x.clone() for x in inputs]
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):  # torch wants some passes before, on another stream
            for _ in range(2):
                self._eager(static)
        torch.cuda.current_stream(self._device).wait_stream(side)
        # Graphs share their memory: they are replayed one at a time, and outputs are copied in between. Other
        # threads, with models of their own, may allocate meanwhile: hence "thread_local".
        self._graph_memory = self._graph_memory or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with _RECORDING, torch.cuda.graph(graph, self._graph_memory, capture_error_mode="thread_local"):
            output = self._eager(static)
        return graph, static, output

    def _synchronize(self) -> None:
        import torch

        if self._is_cuda:
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
