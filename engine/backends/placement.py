"""Put a module's weights on a device, and stream those that do not fit while it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aios_db.engine.weights.lazy import units_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Place = Callable[["nn.Module", "Tensor"], "Tensor"]
"""Copy a parameter or buffer, which is owned by a module, to the device."""

DtypeOf = Callable[["nn.Module", "Tensor"], "torch.dtype"]
"""The type in which `Place` copies a parameter of a module."""

_Copies = list[tuple["nn.Module", str, "Tensor"]]
"""Tensors with the module they belong to and their name there."""


class CopyStream:
    """A CUDA stream for copies, beside the one that computes."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start(self, copy: Callable[[], _Copies]) -> tuple[_Copies, Any]:
        """Queue what ``copy`` does; return its result and an event that says when it is done."""
        import torch

        with torch.cuda.stream(self._stream):
            return copy(), self._stream.record_event()

    def await_copies(self, tensors: Sequence[Tensor], event: Any) -> None:
        """Let what is computed from now on wait for ``event``, and keep the tensors until that is done."""
        import torch

        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(event)
        for tensor in tensors:  # made on the other stream: not to be used again before this one is done
            tensor.record_stream(computing)

    def mark(self) -> Any:
        """Return an event that says when all that is queued now has been computed."""
        import torch

        return torch.cuda.current_stream(self._device).record_event()


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
        Most bytes of weights on the device; 0 is no limit. Two streamed layers are always admitted.
    stream
        Where streamed layers are copied while the device computes; None copies them in turn.
    dtype_of
        The types that ``place`` makes, by which bytes are counted; None is the original's.

    Attributes
    ----------
    module : nn.Module
        The twin.
    resident_bytes, streamed_bytes : int
        Weights that stay on the device, and weights that come and go.
    """

    def __init__(
        self,
        module: nn.Module,
        place: Place,
        budget_bytes: int = 0,
        stream: CopyStream | None = None,
        dtype_of: DtypeOf | None = None,
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
        sizes = [_bytes(unit, dtype_of) for _, unit in units]
        total = _bytes(module, dtype_of)
        room = budget_bytes - (total - sum(sizes)) - 2 * max(sizes, default=0)
        self._streamed: list[tuple[nn.Module, nn.Module]] = []
        self._fetched: dict[int, tuple[_Copies, Any]] = {}
        self._passed: Any = None
        self.streamed_bytes = 0
        in_units = {id(p) for _, unit in units for p in unit.parameters()}
        self._install(self._copies(self.module, module, skip=in_units))
        for part in self.module.modules():
            for name, buffer in part.named_buffers(recurse=False):
                setattr(part, name, place(part, buffer))
        for (twin, unit), size in zip(units, sizes, strict=True):
            if not budget_bytes or total <= budget_bytes or size <= room:
                room -= size
                self._install(self._copies(twin, unit))
            else:
                self._streamed.append((twin, unit))
                self.streamed_bytes += size
        self.resident_bytes = total - self.streamed_bytes
        for index, (twin, _) in enumerate(self._streamed):
            twin.register_forward_pre_hook(lambda *_, index=index: self._arrive(index))
            twin.register_forward_hook(lambda *_, index=index: self._leave(index), always_call=True)
            if index + 1 < len(self._streamed):
                twin.register_forward_hook(lambda *_, index=index: self._fetch_ahead(index + 1))

    def device_bytes(self) -> dict[str, int]:
        """Return the bytes of each parameter that is on the device now, by its name in the module."""
        parameters = self.module.named_parameters(remove_duplicate=False)
        return {name: p.numel() * p.element_size() for name, p in parameters if not p.is_meta}

    def drop_fetched(self) -> None:
        """Forget layers that were fetched for a pass that did not get to them."""
        self._fetched.clear()
        self._passed = None

    def _arrive(self, index: int) -> None:
        copies, event = self._fetched.pop(index) if index in self._fetched else self._fetch(index)
        if self._stream is not None:
            self._stream.await_copies([tensor for _, _, tensor in copies], event)
        self._install(copies)

    def _fetch_ahead(self, index: int) -> None:
        # After the layer before it has been queued: the copy runs while the device computes that layer. The
        # one before that must be done, or the host would queue copies of all layers, and all take memory.
        if self._stream is not None:
            if self._passed is not None:
                self._passed.synchronize()
            self._passed = self._stream.mark()
        self._fetched[index] = self._fetch(index)

    def _leave(self, index: int) -> None:
        import torch

        twin, _ = self._streamed[index]
        self._install(
            [(owner, leaf, torch.empty_like(p, device="meta")) for owner, leaf, p in _parameters(twin)]
        )

    def _fetch(self, index: int) -> tuple[_Copies, Any]:
        twin, unit = self._streamed[index]
        if self._stream is None:
            return self._copies(twin, unit), None
        return self._stream.start(lambda: self._copies(twin, unit))

    def _copies(self, twin: nn.Module, original: nn.Module, skip: set[int] | None = None) -> _Copies:
        return [
            (owner, leaf, self._place(owner, source))
            for (owner, leaf, _), (_, _, source) in zip(_parameters(twin), _parameters(original), strict=True)
            if skip is None or id(source) not in skip
        ]

    def _install(self, copies: _Copies) -> None:
        from torch import nn

        for owner, leaf, tensor in copies:
            setattr(owner, leaf, nn.Parameter(tensor, requires_grad=False))


def _parameters(module: nn.Module) -> _Copies:
    """Return each parameter with the module that owns it and its name there."""
    found: _Copies = []
    for path, parameter in module.named_parameters(remove_duplicate=False):
        owner, _, leaf = path.rpartition(".")
        found.append((module.get_submodule(owner), leaf, parameter))
    return found


def _bytes(module: nn.Module, dtype_of: DtypeOf | None) -> int:
    owned = {id(p): (owner, p) for owner in module.modules() for p in owner.parameters(recurse=False)}
    return sum(
        p.numel() * (dtype_of(owner, p).itemsize if dtype_of else p.element_size())
        for owner, p in owned.values()
    )
