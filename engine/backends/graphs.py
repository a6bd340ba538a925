"""CUDA graphs: a pass recorded once and replayed, which spares the host the launch of each kernel."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

log = logging.getLogger("aios_db.engine.backends.accelerator")

MAX_GRAPHS = 64
MAX_SHAPES = 4096
"""Shapes whose uses are counted."""
_RECORDING = threading.Lock()  # torch records one graph at a time, and must not empty its cache meanwhile

Forward = Callable[[list["Tensor"]], "Tensor"]
_Shape = tuple[Any, ...]


class Graphs:
    """Passes of one module on a CUDA device, recorded by the shapes of their inputs.

    A shape is recorded when it comes a second time. When there are ``MAX_GRAPHS``, one that came twice as
    often takes the place of the rarest. Not for use by several threads at once.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uses: Counter[_Shape] = Counter()
        self._recorded: dict[_Shape, tuple[Any, list[Tensor], Tensor]] = {}
        self._memory: Any = None
        self._side: Any = None
        self._broken = False

    def __len__(self) -> int:
        """Return the number of shapes that are recorded."""
        return len(self._recorded)

    def run(self, forward: Forward, inputs: list[Tensor]) -> Tensor:
        """Return the output for pinned host tensors, valid until the next run.

        Parameters
        ----------
        forward
            The pass, from tensors on the device to one there; it never waits for the device.
        """
        shape = tuple((x.shape, x.dtype) for x in inputs)
        self._count(shape)
        if shape not in self._recorded and self._is_worth(shape):
            try:
                self._recorded[shape] = self._record(forward, inputs)
            except RuntimeError as error:
                log.warning("CUDA graphs are not used: %s", error)
                self._broken = True
                self.clear()
        if shape not in self._recorded:
            return forward(self._upload(inputs))
        graph, static, output = self._recorded[shape]
        for held, fresh in zip(static, inputs, strict=True):
            held.copy_(fresh, non_blocking=True)
        graph.replay()
        return output

    def clear(self) -> None:
        """Forget what is recorded, and with it the memory that it holds."""
        self._recorded.clear()
        self._memory = None

    def _count(self, shape: _Shape) -> None:
        if len(self._uses) >= MAX_SHAPES:
            self._uses = Counter({known: self._uses[known] for known in self._recorded})
        self._uses[shape] += 1

    def _is_worth(self, shape: _Shape) -> bool:
        """Whether to record ``shape``; makes room for it."""
        if self._broken or self._uses[shape] < 2:
            return False
        if len(self._recorded) >= MAX_GRAPHS:
            rarest = min(self._recorded, key=self._uses.__getitem__)
            if self._uses[shape] < 2 * self._uses[rarest]:
                return False
            del self._recorded[rarest]
        return True

    def _upload(self, inputs: list[Tensor]) -> list[Tensor]:
        return [x.to(self._device, non_blocking=True) for x in inputs]

    def _record(self, forward: Forward, inputs: list[Tensor]) -> tuple[Any, list[Tensor], Tensor]:
        import torch

        if self._side is None:  # one for all: cuBLAS keeps a workspace for each stream it has seen
            self._side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        static, side, current = self._upload(inputs), self._side, torch.cuda.current_stream(self._device)
        side.wait_stream(current)
        # Graphs share their memory: they are replayed one at a time, and outputs are copied in between.
        self._memory = self._memory or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # The outer context is for a recording that fails: torch then leaves its stream the current one.
        with torch.cuda.stream(side):
            for _ in range(2):  # torch wants some passes before
                forward(static)
            # Other threads, with models of their own, may allocate meanwhile: hence "thread_local".
            with (
                _RECORDING,
                torch.cuda.graph(graph, self._memory, stream=side, capture_error_mode="thread_local"),
            ):
                output = forward(static)
        current.wait_stream(side)
        return graph, static, output


def empty_cache() -> None:
    """Give back the device memory that torch keeps for reuse; waits for a recording to end."""
    import torch

    with _RECORDING:
        torch.cuda.empty_cache()
