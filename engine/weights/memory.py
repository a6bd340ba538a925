"""Where weights are: what `memory_report` returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerMemory:
    """Where one tensor is; all sizes in bytes."""

    name: str
    stored: int
    """Its size in the file, without scales and zero points."""
    mapped: int
    """How much of it is mapped: ``stored``, or 0."""
    resident: int
    """How much of the mapping is in this process's memory (shared with other processes that map the file)."""
    copied: int
    """Private memory: what was decompressed, dequantized or converted to another type."""
    device: int
    """Memory on an accelerator."""


@dataclass(frozen=True)
class MemoryReport:
    """Where a model's weights are, tensor by tensor and in total."""

    layers: tuple[LayerMemory, ...]

    @property
    def stored(self) -> int:
        """Bytes in the file."""
        return sum(layer.stored for layer in self.layers)

    @property
    def mapped(self) -> int:
        """Bytes mapped."""
        return sum(layer.mapped for layer in self.layers)

    @property
    def resident(self) -> int:
        """Mapped bytes in this process's memory."""
        return sum(layer.resident for layer in self.layers)

    @property
    def copied(self) -> int:
        """Bytes of private copies."""
        return sum(layer.copied for layer in self.layers)

    @property
    def device(self) -> int:
        """Bytes on an accelerator."""
        return sum(layer.device for layer in self.layers)
