"""What a quantization did: the recipe, and for each layer its bits and its error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerReport:
    """One tensor of a V2 file."""

    name: str
    quant_type: str
    group_size: int
    num_params: int
    nbytes: int
    """Bytes of values, scales and zero points."""
    error: float
    """||original - stored||^2 / ||original||^2 of the values."""
    is_linear: bool
    """Whether it is a linear layer inside the model's blocks: what `bits_linear` counts."""
    refined_params: int = 0
    """Weights of an int2 tensor that have more than 2 bits."""


@dataclass(frozen=True)
class QuantizationReport:
    """A finished quantization."""

    source: str
    source_version: str
    target: str
    quant_type: str
    method: str
    recipe: dict[str, Any]
    """The configuration and the measured sensitivities behind the choice of bits."""
    calibration_sha256: str
    layers: tuple[LayerReport, ...]
    file_bytes: int
    seconds: float

    @property
    def bits(self) -> float:
        """Bits per weight over all tensors, scales and zero points included."""
        return _bits(self.layers)

    @property
    def bits_linear(self) -> float:
        """Bits per weight over the linear layers, scales and zero points included."""
        return _bits(self._linear())

    @property
    def int2_share(self) -> float:
        """Share of the linear layers' weights that have 2 bits."""
        linear = self._linear()
        total = sum(layer.num_params for layer in linear)
        coarse = (each.num_params - each.refined_params for each in linear if each.quant_type == "int2")
        return sum(coarse) / total

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, the derived figures included."""
        return {
            **asdict(self),
            "bits": self.bits,
            "bits_linear": self.bits_linear,
            "int2_share": self.int2_share,
        }

    def _linear(self) -> list[LayerReport]:
        return [layer for layer in self.layers if layer.is_linear]


def _bits(layers: tuple[LayerReport, ...] | list[LayerReport]) -> float:
    return 8 * sum(layer.nbytes for layer in layers) / sum(layer.num_params for layer in layers)
