"""The back end of Intel Extension for PyTorch, for those who have it: the project is archived at 2.8."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from aios_db.engine.backends.cpu_features import CpuFeatures
from aios_db.engine.backends.protocol import Arithmetic, Program
from aios_db.engine.backends.standard import TorchRunner, converted, float_precisions

if TYPE_CHECKING:
    from torch import nn

_PACKAGE = "intel_extension_for_pytorch"


class Ipex:
    """``ipex.optimize`` over a copy of the module."""

    def missing(self) -> str | None:
        """Return why not: not installed, or built for another torch."""
        try:
            ours, theirs = version("torch").split(".")[:2], version(_PACKAGE).split(".")[:2]
        except PackageNotFoundError:
            return f"{_PACKAGE} is not installed (archived; its last release is for torch 2.8)"
        if ours != theirs:
            return f"{_PACKAGE} {'.'.join(theirs)} does not fit torch {'.'.join(ours)}"
        return None

    def precisions(self, features: CpuFeatures) -> tuple[Arithmetic, ...]:
        """Return fp32, and bf16 where the CPU multiplies it."""
        return float_precisions(features)

    def prepare(self, program: Program, precision: Arithmetic, threads: int) -> TorchRunner:
        """Optimise a copy of the module."""
        import intel_extension_for_pytorch as ipex
        import torch

        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        optimized: nn.Module = ipex.optimize(converted(program, dtype), dtype=dtype)
        return TorchRunner(optimized, dtype, threads)
