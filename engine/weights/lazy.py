"""Fill a model on the meta device from a weight file, one unit (layer) at a time, as it first runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn


class LazyModel:
    """A model whose units take their weights from ``file`` at their first forward pass.

    A unit is a block of a ``ModuleList`` or a module that contains none. Float32 tensors of a mapped file
    become views of it. Other float types are converted to float32, except the tables of ``nn.Embedding``,
    of which only a few rows are used at a time.
    """

    def __init__(self, model: nn.Module, file: WeightFile) -> None:
        """Check that ``file`` has what ``model`` needs; reads no tensor.

        Raises
        ------
        WeightsError
            A layer is missing or has another shape.
        """
        self.model = model
        self.file = file
        self._lock = threading.RLock()
        self._loaded: set[str] = set()
        self._check()
        self.units = dict(_units(model))
        for name, unit in self.units.items():
            unit.register_forward_pre_hook(lambda _module, _arguments, name=name: self.load(name))
        for name, parameter in list(model.named_parameters()):
            if not any(name.startswith(f"{unit}.") for unit in self.units):
                _assign(model, name, self._tensor(name, parameter))

    def load(self, unit: str) -> None:
        """Give ``unit`` its weights, if it has none yet."""
        with self._lock:
            if unit in self._loaded:
                return
            for name, _ in list(self.units[unit].named_parameters()):
                full = f"{unit}.{name}"
                _assign(self.model, full, self._tensor(full))
            self.file.drop_cache()
            self._loaded.add(unit)

    def load_all(self) -> None:
        """Load every unit, for back ends that read the parameters instead of running the modules."""
        for unit in self.units:
            self.load(unit)

    def _tensor(self, name: str, _: Any = None) -> Tensor:
        import torch

        tensor = self.file.tensor(name)
        owner = self.model.get_submodule(name.rpartition(".")[0])
        if tensor.dtype != torch.float32 and not isinstance(owner, torch.nn.Embedding):
            tensor = tensor.to(torch.float32)
        return tensor

    def _check(self) -> None:
        for name, parameter in self.model.named_parameters():
            info = self.file.layers.get(name)
            if info is None:
                raise WeightsError(f"{self.file.path}: layer {name!r} is missing")
            if info.shape != tuple(parameter.shape):
                shapes = f"{list(info.shape)}, not {list(parameter.shape)}"
                raise WeightsError(f"{self.file.path}: layer {name!r} has shape {shapes}")


def _units(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    from torch import nn

    found = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if any(isinstance(inner, nn.ModuleList) for inner in child.modules()):
            found += _units(child, f"{path}.")
        elif next(child.parameters(), None) is not None:
            found.append((path, child))
    return found


def _assign(model: nn.Module, name: str, tensor: Tensor) -> None:
    from torch import nn

    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, nn.Parameter(tensor, requires_grad=False))
