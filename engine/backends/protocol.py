"""What a back end is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.cpu_features import CpuFeatures
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.residency import ResidencyManager

if TYPE_CHECKING:
    from torch import nn

Arrays = tuple[NDArray[Any], ...]
"""The inputs of one forward pass, in the order of the module's arguments."""

Arithmetic = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True)
class Program:
    """A model as back ends see it: a torch module from arrays to one array, and inputs to try it on."""

    name: str
    """Identity of architecture and weights, like ``minilm@1a2b3c4d5e6f``."""
    module: Callable[[], nn.Module]
    """Return the fp32 module on the CPU; its weights may still be read at first use. Called when needed."""
    load: Callable[[], None]
    """Give every parameter of ``module()`` its weights, for back ends that read the parameters."""
    shapes: tuple[tuple[int, ...], ...]
    """Shape of each input; -1 where it varies."""
    calibration: Callable[[], Sequence[Arrays]]
    """Return typical inputs: static quantization takes its ranges from them."""
    check: Callable[[], Sequence[Arrays]]
    """Return other inputs, on which precision and speed are measured."""
    hold: Callable[[], AbstractContextManager[None]] = nullcontext
    """Return a context in which what ``load`` gave is not released."""
    bulk: int = 256
    """Rows in one call for which finding the fastest back end (tens of seconds, once) is worth it."""
    quantizable: bool = True
    """Whether ``calibration`` is like what the model will be given, so that ``auto`` may choose int8."""
    architecture: str = ""
    """Name in ``architectures.registry``, for back ends that build their own graph."""
    config: Mapping[str, Any] | None = None
    """The architecture's sizes, for the same."""
    weights: WeightFile | None = None
    """The file that parameters of ``module()`` may be views of."""
    cache: Path | None = None
    """Directory for what back ends build from the weights; None keeps nothing."""
    residency: ResidencyManager = field(default_factory=ResidencyManager)
    """To be told of copies of the weights that can be made again."""


class Runner(Protocol):
    """A model ready to run; safe to use from several threads."""

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the module's output for each of ``batches``, in their order."""
        ...


class Backend(Protocol):
    """A way to run a `Program` on the CPU."""

    def missing(self) -> str | None:
        """Return why the back end cannot be used here (with the pip command), or None when it can."""
        ...

    def precisions(self, features: CpuFeatures) -> tuple[Arithmetic, ...]:
        """Return the arithmetic worth trying on such a CPU."""
        ...

    def prepare(self, program: Program, precision: Arithmetic, threads: int) -> Runner:
        """Build a runner; ``threads`` of 0 means all cores. Raises whatever the library below raises."""
        ...
