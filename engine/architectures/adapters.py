"""Changes that run beside a model's linear layers: the weights stay as they are, shared and mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LowRank:
    """What is added to a linear layer's output: ``scale * b @ (a @ x)``."""

    a: NDArray[Any]
    """(rank, inputs)."""
    b: NDArray[Any]
    """(outputs, rank)."""
    scale: float


@dataclass(frozen=True)
class Adapter:
    """Low-rank changes of a model, by the layer's name in the weight file, without ``.weight``."""

    version: str
    """Stands behind the model's in its version: other vectors are another version's."""
    layers: Mapping[str, LowRank]

    def fit(self, module: nn.Module) -> None:
        """Make the linear layers of ``module`` add their change, in place.

        Raises
        ------
        WeightsError
            A layer is not in the model, is not linear or has other sizes.
        """
        import torch

        for name, change in self.layers.items():
            layer, outputs, inputs = self._layer(module, name)
            shapes = change.b.shape[0], change.a.shape[1]
            if shapes != (outputs, inputs):
                raise WeightsError(
                    f"{self.version}: the change of {name!r} is {list(shapes)}, the layer "
                    f"{[outputs, inputs]}: the adapter is of another model"
                )
            kind: Any = type(layer)
            layer.__class__ = _beside(kind)
            # Copied and converted with the module, but no parameters: the weight file is not asked for them.
            down = torch.from_numpy(np.array(change.a, np.float32))
            up = torch.from_numpy(np.array(change.b, np.float32)) * change.scale
            layer.register_buffer("adapter_down", down, persistent=False)
            layer.register_buffer("adapter_up", up, persistent=False)

    def _layer(self, module: nn.Module, name: str) -> tuple[Any, int, int]:
        try:
            layer: Any = module.get_submodule(name)
            if hasattr(layer, "rows"):  # computes from integers
                return layer, layer.rows, layer.columns
            return layer, layer.out_features, layer.in_features
        except AttributeError:
            raise WeightsError(f"{self.version}: the model has no linear layer {name!r}") from None


@cache
def _beside(kind: type[nn.Module]) -> type[nn.Module]:
    from torch.nn import functional

    class Beside(kind):  # type: ignore[misc, valid-type]
        def forward(self, x: Any) -> Any:
            low = functional.linear(x, self.adapter_down.to(x.dtype))
            return super().forward(x) + functional.linear(low, self.adapter_up.to(x.dtype))

    Beside.__name__ = f"{kind.__name__}WithAdapter"
    return Beside
