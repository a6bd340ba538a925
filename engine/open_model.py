"""Open a model directory of any architecture: files, sizes, and the module that maps its weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.architectures.sizes import model_sizes
from aios_db.engine.devices import find_device
from aios_db.engine.fingerprint import fingerprint
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.models import find_model
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.residency import shared_residency
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig
from aios_db.schema.errors import NotSupportedError

if TYPE_CHECKING:
    from torch import nn

_CPU, _DEVICE = CpuConfig(), DeviceConfig(target="cpu")  # frozen


@dataclass(frozen=True)
class OpenModel:
    """A model whose weights are read when it runs."""

    directory: ModelDirectory
    architecture: str
    config: Mapping[str, Any]
    weights: LazyModel
    integers: bool
    """Whether quantized layers compute from their integers."""
    version: str
    """``name@`` and 12 hex digits of the SHA-256 of the weights' content."""

    @property
    def module(self) -> nn.Module:
        """The torch module."""
        return self.weights.model

    def close(self) -> None:
        """Release the weights and close the file."""
        self.weights.release()
        self.weights.file.close()


def wants_integers(file: WeightFile, cpu: CpuConfig, device: DeviceConfig) -> bool:
    """Whether quantized weights are computed with as they are; otherwise they become floats as they load."""
    return (
        any(info.is_quantized for info in file.layers.values())
        and cpu.backend in ("auto", "standard")
        and cpu.precision in ("auto", "int8")
        and (device.target in ("cpu", "arm") or (device.target == "auto" and find_device(device).is_cpu))
    )


def open_model(
    model: str | Path,
    engine: EngineConfig,
    architectures: Collection[str],
    *,
    cpu: CpuConfig = _CPU,
    device: DeviceConfig = _DEVICE,
) -> OpenModel:
    """Open the model directory ``model`` (a path, or a name in ``engine.models_dir``); reads no tensor.

    Parameters
    ----------
    cpu, device
        Where the model will run, by default the CPU; decides whether quantized layers compute from their integers.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    NotSupportedError
        The model is of none of ``architectures``.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """
    directory = ModelDirectory.open(find_model(str(model), engine.models_dir))
    file = WeightFile(directory.weights, mapped=engine.mmap)
    architecture, config = model_sizes(directory, file)
    if architecture not in architectures:
        file.close()
        raise NotSupportedError(f"{directory.path} holds {architecture}, not {' or '.join(architectures)}")
    module = build_model(architecture, config)
    integers = wants_integers(file, cpu, device)
    if integers:
        from aios_db.engine.quantization.integer_layers import use_integers

        use_integers(module, file, vocabulary=config.get("vocab_size"))
    weights = LazyModel(module, file, shared_residency(engine.max_resident_bytes))
    version = f"{directory.name}@{fingerprint(directory.path, file)[:12]}"
    return OpenModel(directory, architecture, config, weights, integers, version)
