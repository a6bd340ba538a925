"""Memory of accelerators: of the device, of this process, and of each model it has open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from aios_db.engine.backends.devices import Device


@dataclass(frozen=True)
class VramReport:
    """Memory of a device and what a model takes of it, in bytes; all 0 on a CPU."""

    device: str
    """``cuda``, ``rocm``, ``mps``, ``vulkan``, ``cpu`` or ``arm``."""
    name: str
    """Of the device."""
    model: str | None
    """``name@`` and 12 hex digits; None where no model is open."""
    total: int
    used: int | None
    """In use by every process on the device; None where the driver does not tell (Vulkan)."""
    allocated: int | None
    """Held by tensors of this process, of all its models; None as above."""
    resident_weights: int
    """Weights of the model that stay on the device."""
    streamed_weights: int
    """Weights that are copied from the mapping in each pass."""


def idle_report(device: Device, model: str | None = None) -> VramReport:
    """Return what holds for ``device`` while no model has run on it; asks the driver."""
    total, used, allocated = device_memory(device)
    return VramReport(device.target, device.name, model, total, used, allocated, 0, 0)


def device_memory(device: Device) -> tuple[int, int | None, int | None]:
    """Return total, used and this process's bytes of a device; None for what is not told."""
    if device.is_cpu:
        return 0, 0, 0
    if device.torch_name == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info()
        return total, total - free, torch.cuda.memory_allocated()
    if device.target == "mps":
        import torch

        used, own = torch.mps.driver_allocated_memory(), torch.mps.current_allocated_memory()
        return torch.mps.recommended_max_memory(), used, own
    return device.memory_bytes, None, None


def by_model(reports: Iterable[VramReport]) -> list[VramReport]:
    """Return one report for each model and device: a model with two sessions has its weights twice."""
    merged: dict[tuple[str, str, str | None], VramReport] = {}
    for report in reports:
        key = (report.device, report.name, report.model)
        before = merged.get(key)
        merged[key] = report if before is None else replace(
            report,
            resident_weights=before.resident_weights + report.resident_weights,
            streamed_weights=before.streamed_weights + report.streamed_weights,
        )  # fmt: skip
    return [merged[key] for key in sorted(merged, key=lambda key: (key[0], key[1], key[2] or ""))]
