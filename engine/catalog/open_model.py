"""Open a model directory of any architecture: files, sizes, and the module that maps its weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_db.engine.architectures.adapters import Adapter
from aios_db.engine.architectures.kinds import Kind
from aios_db.engine.architectures.registry import build_model
from aios_db.engine.architectures.sizes import model_sizes, require_kind
from aios_db.engine.backends.devices import find_device
from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.engine.catalog.find import find_model
from aios_db.engine.catalog.fingerprint import fingerprint
from aios_db.engine.catalog.gate import Candidate, check
from aios_db.engine.catalog.report import ValidationReport
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.residency import ResidencyManager, shared_residency
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig, ValidationConfig

if TYPE_CHECKING:
    from torch import nn

_CPU, _DEVICE, _VALIDATION = CpuConfig(), DeviceConfig(target="cpu"), ValidationConfig()  # frozen


@dataclass
class OpenModel:
    """A model whose weights are read when it runs; safe to use from several threads."""

    directory: ModelDirectory
    file: WeightFile
    architecture: str
    config: Mapping[str, Any]
    integers: bool
    """Whether quantized layers compute from their integers."""
    cpu: CpuConfig
    """How to run it on the CPU: with integers, on the standard back end, the rest in fp32."""
    version: str
    """``name@`` and 12 hex digits of the SHA-256 of the weights' content."""
    residency: ResidencyManager
    adapter: Adapter | None = None
    """What runs beside the weights."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _weights: LazyModel | None = None

    @property
    def weights(self) -> LazyModel:
        """The torch module that takes its weights from the file, built at its first use: that imports torch.

        Raises
        ------
        WeightsError
            A layer is missing or has another shape.
        """
        with self._lock:
            if self._weights is None:
                module = build_model(self.architecture, self.config)
                if self.integers:
                    from aios_db.engine.architectures.integer_layers import use_integers

                    use_integers(module, self.file, vocabulary=self.config.get("vocab_size"))
                if self.adapter is not None:
                    self.adapter.fit(module)
                self._weights = LazyModel(module, self.file, self.residency)
            return self._weights

    @property
    def module(self) -> nn.Module:
        """The torch module."""
        return self.weights.model

    def program(
        self,
        shapes: tuple[tuple[int, ...], ...],
        calibration: Callable[[], Sequence[Arrays]],
        check: Callable[[], Sequence[Arrays]],
        bulk: int,
        *,
        quantizable: bool,
    ) -> Program:
        """Return the model as back ends see it; arguments as the fields of `Program`."""
        return Program(
            name=self.version,
            module=lambda: self.module,
            load=self._load,
            hold=self._hold,
            shapes=shapes,
            calibration=calibration,
            check=check,
            bulk=bulk,
            quantizable=quantizable,
            architecture=self.architecture,
            config=self.config,
            weights=self.file,
            cache=self.directory.path / "backends",
            residency=self.residency,
        )

    def release(self) -> None:
        """Let go of the weights' memory; the next use brings it back."""
        if self._weights is not None:
            self._weights.release()

    def _load(self) -> None:
        self.weights.load_all()

    def _hold(self) -> AbstractContextManager[None]:
        return self.weights.hold()

    def close(self) -> None:
        """Release the weights and close the file."""
        self.release()
        self.file.close()


def wants_integers(file: WeightFile, cpu: CpuConfig, device: DeviceConfig) -> bool:
    """Whether quantized weights are computed with as they are; otherwise they become floats as they load."""
    return (
        any(info.is_quantized for info in file.layers.values())
        and cpu.backend in ("auto", "standard")
        and cpu.precision in ("auto", "int8")
        and (device.target in ("cpu", "arm") or (device.target == "auto" and find_device(device).is_cpu))
    )


def require_usable(
    path: str | Path, *, cpu: CpuConfig, device: DeviceConfig, validation: ValidationConfig
) -> ValidationReport | None:
    """Ask the gate, as `open_model` does, whether the model directory ``path`` may be used; see `check`."""
    directory = ModelDirectory.open(path)
    with WeightFile(directory.weights) as file:
        return check(directory, file, validation, integers=wants_integers(file, cpu, device))


def open_model(
    model: str | Path | Candidate,
    engine: EngineConfig,
    kind: Kind,
    *,
    cpu: CpuConfig = _CPU,
    device: DeviceConfig = _DEVICE,
    validation: ValidationConfig = _VALIDATION,
    adapter: Adapter | None = None,
) -> OpenModel:
    """Open the model directory ``model`` (a path, or a name in ``engine.models_dir``).

    Every loader goes through here, and so past the gate (`aios_db.engine.catalog.gate`). No tensor is
    read but those of a model with a validation report, which are hashed.

    Parameters
    ----------
    cpu, device
        Where the model will run, by default the CPU; they decide whether quantized layers compute from their
        integers.
    validation
        What a quantized model's report must have reached. A `Candidate` is opened without one.
    adapter
        Changes that run beside the weights; its version stands behind that of the model.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    NotSupportedError
        The model is of another kind.
    ValidationError
        The model is quantized and has no report that lets it be used.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """
    judged = not isinstance(model, Candidate)
    named = model.path if isinstance(model, Candidate) else model
    directory = ModelDirectory.open(find_model(str(named), engine.models_dir))
    file = WeightFile(directory.weights, mapped=engine.mmap)
    try:
        require_kind(directory, file, kind)
        architecture, config = model_sizes(directory, file)
        integers = wants_integers(file, cpu, device)
        if judged:
            check(directory, file, validation, integers=integers)
    except BaseException:
        file.close()
        raise
    version = f"{directory.name}@{fingerprint(directory.path, file)[:12]}"
    return OpenModel(
        directory=directory,
        file=file,
        architecture=architecture,
        config=config,
        integers=integers,
        cpu=replace(cpu, backend="standard", precision="fp32") if integers else cpu,
        version=version if adapter is None else f"{version}+{adapter.version}",
        residency=shared_residency(engine.max_resident_bytes, engine.least_available),
        adapter=adapter,
    )
