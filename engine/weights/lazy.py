"""Fill a model on the meta device from a weight file, one unit (layer) at a time, as it first runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from aios_db.engine.weights.memory import LayerMemory, MemoryReport
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.residency import ResidencyManager
from aios_db.engine.weights.stored import StoredTensor
from aios_db.schema.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKED_TABLE = 1 << 20
"""Bytes up to which a float embedding table is compared with its checksum; larger ones are read in part."""


@runtime_checkable
class TakesStored(Protocol):
    """A module that computes from a tensor's stored form, integers and scales, instead of floats."""

    def take_stored(self, layer: StoredTensor) -> Tensor:
        """Keep what else the module needs of ``layer``; return what its ``weight`` is to be."""


class LazyModel:
    """A model whose units take their weights from ``file`` when they run.

    A unit is a block of a ``ModuleList`` or a module that contains none. Float32 tensors of a mapped file
    become views of it. Other types are converted to float32, except the tables of ``nn.Embedding``, of
    which only a few rows are used at a time.

    Parameters
    ----------
    model
        As `build_model` returns it; its parameters' names are the file's layers.
    residency
        Decides what is released; by default nothing is.
    """

    def __init__(self, model: nn.Module, file: WeightFile, residency: ResidencyManager | None = None) -> None:
        """Check that ``file`` has what ``model`` needs; reads no tensor.

        Raises
        ------
        WeightsError
            A layer is missing or has another shape.
        """
        self.model = model
        self.file = file
        self.residency = residency or ResidencyManager()
        self._check()
        self.units = {name: LazyUnit(name, module, file) for name, module in units_of(model)}
        for unit in self.units.values():
            unit.attach(self.residency)
        for name, _ in list(model.named_parameters()):
            if not any(name.startswith(f"{unit}.") for unit in self.units):
                owner, _, leaf = name.rpartition(".")
                _assign(model.get_submodule(owner), leaf, _tensor(file, name, model.get_submodule(owner)))

    def load_all(self) -> None:
        """Load every unit, for back ends that read the parameters instead of running the modules."""
        for unit in self.units.values():
            unit.load()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let nothing be released meanwhile."""
        for unit in self.units.values():
            self.residency.begin(unit)
        try:
            yield
        finally:
            for unit in self.units.values():
                self.residency.end(unit)

    def release(self) -> None:
        """Let go of the weights' memory; the next use brings it back. No forward pass may be running."""
        for unit in self.units.values():
            unit.release()
            self.residency.forget(unit)
        self.file.drop_cache()

    def memory_report(self, device: Mapping[str, int] | None = None) -> MemoryReport:
        """Return where each tensor of the file is; ``device`` has the bytes on an accelerator, by name."""
        parameters = dict(self.model.named_parameters())
        layers = []
        for name in self.file.layers:
            stored, tensor = self.file.stored_bytes(name), parameters.get(name)
            copied = 0
            if tensor is not None and not tensor.is_meta and not self.file.maps(tensor.data_ptr()):
                copied = tensor.numel() * tensor.element_size()
            mapped = stored if self.file.is_mapped else 0
            resident = self.file.resident(name)
            on_device = (device or {}).get(name, 0)
            layers.append(LayerMemory(name, stored, mapped, resident, copied, on_device))
        return MemoryReport(tuple(layers))

    def _check(self) -> None:
        for name, parameter in self.model.named_parameters():
            info = self.file.layers.get(name)
            if info is None:
                raise WeightsError(f"{self.file.path}: layer {name!r} is missing")
            if info.shape != tuple(parameter.shape):
                shapes = f"{list(info.shape)}, not {list(parameter.shape)}"
                raise WeightsError(f"{self.file.path}: layer {name!r} has shape {shapes}")


class LazyUnit:
    """One unit of a `LazyModel`."""

    def __init__(self, name: str, module: nn.Module, file: WeightFile) -> None:
        self.name = name
        self.module = module
        self._file = file
        self._lock = threading.RLock()
        self._loaded = False

    def attach(self, residency: ResidencyManager) -> None:
        """Load the unit before each forward pass, and tell ``residency`` of the pass."""

        def before(*_: object) -> None:
            residency.begin(self)
            self.load()

        def after(*_: object) -> None:
            residency.end(self)

        self.module.register_forward_pre_hook(before)
        self.module.register_forward_hook(after, always_call=True)

    def load(self) -> None:
        """Give the unit its weights, where it has none.

        Raises
        ------
        WeightsError
            A tensor cannot be read, or has changed since it was written.
        """
        with self._lock:
            if self._loaded:
                return
            for owner, leaf, name in self._places():
                if getattr(owner, leaf).is_meta:
                    _assign(owner, leaf, _tensor(self._file, name, owner))
            self._file.drop_cache()
            self._loaded = True

    def release(self) -> None:
        """Give mapped pages back and drop copies."""
        import torch

        with self._lock:
            for owner, leaf, name in self._places():
                parameter = getattr(owner, leaf)
                if not parameter.is_meta and not self._file.maps(parameter.data_ptr()):
                    _assign(owner, leaf, torch.empty_like(parameter, device="meta"))
                    self._loaded = False
                self._file.release(name)

    def resident_bytes(self) -> int:
        """Return the bytes of mapped pages in memory and of copies."""
        total = 0
        for owner, leaf, name in self._places():
            parameter = getattr(owner, leaf)
            total += self._file.resident(name)
            if not parameter.is_meta and not self._file.maps(parameter.data_ptr()):
                total += parameter.numel() * parameter.element_size()
        return total

    def _places(self) -> Iterator[tuple[nn.Module, str, str]]:
        """Yield each parameter's module, its name there and its name in the file."""
        for path, _ in list(self.module.named_parameters()):
            owner, _, leaf = path.rpartition(".")
            yield self.module.get_submodule(owner), leaf, f"{self.name}.{path}"


def units_of(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Return the units of ``module`` by name: blocks of a ``ModuleList``, and modules that contain none."""
    from torch import nn

    found = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if any(isinstance(inner, nn.ModuleList) for inner in child.modules()):
            found += units_of(child, f"{path}.")
        elif next(child.parameters(), None) is not None:
            found.append((path, child))
    return found


def _tensor(file: WeightFile, name: str, owner: nn.Module) -> Tensor:
    import torch

    if isinstance(owner, TakesStored) and name.endswith(".weight"):
        file.check(name)
        return owner.take_stored(file.raw(name))
    info = file.layers[name]
    table = isinstance(owner, torch.nn.Embedding) and not info.is_quantized
    if not table or info.nbytes <= CHECKED_TABLE:
        file.check(name)
    return file.tensor(name) if table else file.tensor(name).to(torch.float32)


def _assign(owner: nn.Module, name: str, tensor: Tensor) -> None:
    from torch import nn

    setattr(owner, name, nn.Parameter(tensor, requires_grad=False))
