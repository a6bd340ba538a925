"""Put a module's weights on a device, and stream those that do not fit while it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from aios_db.engine.weights.lazy import units_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Place = Callable[["nn.Module", "Tensor"], "Tensor"]
"""Copy a parameter, which is owned by a module, to the device."""


class PlacedModule:
    """A twin of a module on the CPU, whose parameters are on a device as far as ``budget_bytes`` goes.

    The units (layers) beyond the budget are streamed: their weights are copied from the original, that is
    from the mapped file, while the layer before them runs, and dropped when they have run. Not for use by
    several threads at once.

    Parameters
    ----------
    module
        The original; its parameters have their weights.
    place
        Copies one parameter to the device.
    budget_bytes
        Most bytes of weights on the device, counted in the original's precision; 0 is no limit. Two streamed
        layers are always admitted.
    stream
        A CUDA stream for the copies, or None to copy in turn.

    Attributes
    ----------
    module : nn.Module
        The twin.
    resident_bytes, streamed_bytes : int
        Weights that stay on the device, and weights that come and go.
    """

    def __init__(
        self, module: nn.Module, place: Place, budget_bytes: int = 0, stream: torch.cuda.Stream | None = None
    ) -> None:
        import torch
        from torch import nn

        skeleton: dict[int, object] = {
            id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False)
            for p in module.parameters()
        }
        self.module: nn.Module = copy.deepcopy(module, skeleton)
        for part in self.module.modules():  # the hooks that read weights at first use belong to the original
            part._forward_pre_hooks.clear()
            part._forward_hooks.clear()
        self._place, self._stream = place, stream
        units = [(self.module.get_submodule(name), unit) for name, unit in units_of(module)]
        sizes = [_bytes(unit) for _, unit in units]
        total = _bytes(module)
        room = budget_bytes - (total - sum(sizes)) - 2 * max(sizes, default=0)
        self._streamed: list[tuple[nn.Module, nn.Module]] = []
        self._fetched: dict[int, tuple[list[tuple[nn.Module, str, Tensor]], Any]] = {}
        in_units = {id(p) for _, unit in units for p in unit.parameters()}
        self._install(self._copies(self.module, module, skip=in_units))
        for (twin, unit), size in zip(units, sizes, strict=True):
            if not budget_bytes or total <= budget_bytes or size <= room:
                room -= size
                self._install(self._copies(twin, unit))
            else:
                self._streamed.append((twin, unit))
        self.streamed_bytes = sum(_bytes(unit) for _, unit in self._streamed)
        self.resident_bytes = total - self.streamed_bytes
        for index, (twin, _) in enumerate(self._streamed):
            twin.register_forward_pre_hook(lambda *_, index=index: self._arrive(index))
            twin.register_forward_hook(lambda *_, index=index: self._leave(index), always_call=True)
            if index + 1 < len(self._streamed):
                twin.register_forward_hook(lambda *_, index=index: self._fetch_ahead(index + 1))

    def _arrive(self, index: int) -> None:
        import torch

        copies, event = self._fetched.pop(index) if index in self._fetched else self._fetch(index)
        if event is not None:
            torch.cuda.current_stream().wait_event(event)
            for _, _, tensor in copies:  # made on the other stream: not to be freed before this one is done
                tensor.record_stream(torch.cuda.current_stream())
        self._install(copies)

    def _fetch_ahead(self, index: int) -> None:
        # After the layer before it has been queued: the copy runs while the device computes that layer.
        self._fetched[index] = self._fetch(index)

    def _leave(self, index: int) -> None:
        import torch

        twin, _ = self._streamed[index]
        self._install(
            [(owner, leaf, torch.empty_like(p, device="meta")) for owner, leaf, p in _parameters(twin)]
        )

    def _fetch(self, index: int) -> tuple[list[tuple[nn.Module, str, Tensor]], Any]:
        import torch

        on_stream: AbstractContextManager[Any] = nullcontext()
        if self._stream is not None:
            on_stream = torch.cuda.stream(self._stream)
        with on_stream:
            copies = self._copies(*self._streamed[index])
            return copies, None if self._stream is None else self._stream.record_event()

    def _copies(
        self, twin: nn.Module, original: nn.Module, skip: set[int] | None = None
    ) -> list[tuple[nn.Module, str, Tensor]]:
        return [
            (owner, leaf, self._place(owner, source))
            for (owner, leaf, _), (_, _, source) in zip(_parameters(twin), _parameters(original), strict=True)
            if skip is None or id(source) not in skip
        ]

    def _install(self, copies: list[tuple[nn.Module, str, Tensor]]) -> None:
        from torch import nn

        for owner, leaf, tensor in copies:
            setattr(owner, leaf, nn.Parameter(tensor, requires_grad=False))


def _parameters(module: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Return each parameter with the module that owns it and its name there."""
    found: list[tuple[nn.Module, str, Tensor]] = []
    for path, parameter in module.named_parameters(remove_duplicate=False):
        owner, _, leaf = path.rpartition(".")
        found.append((module.get_submodule(owner), leaf, parameter))
    return found


def _bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())
