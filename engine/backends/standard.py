"""The standard back end: the engine's own modules in torch, with oneDNN underneath."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.cpu_features import CpuFeatures
from aios_db.engine.backends.protocol import Arithmetic, Arrays, Program
from aios_db.engine.backends.threads import torch_threads

if TYPE_CHECKING:
    import torch
    from torch import nn


def float_precisions(features: CpuFeatures) -> tuple[Arithmetic, ...]:
    """Return what torch computes in on the CPU: fp32, and bf16 where that is in hardware."""
    return ("fp32", "bf16") if features.has_bf16 else ("fp32",)


class Standard:
    """Eager torch. In fp32 the parameters stay views of the mapped file; bf16 has its own, half as large."""

    def missing(self) -> str | None:
        """Return None: torch is a dependency."""
        return None

    def precisions(self, features: CpuFeatures) -> tuple[Arithmetic, ...]:
        """Return fp32, and bf16 where the CPU multiplies it."""
        return float_precisions(features)

    def prepare(self, program: Program, precision: Arithmetic, threads: int) -> TorchRunner:
        """Build a runner over the program's module, or over a bf16 copy of it."""
        import torch

        if precision == "fp32":
            return TorchRunner(program.module(), torch.float32, threads)
        return TorchRunner(converted(program, torch.bfloat16), torch.bfloat16, threads)


class TorchRunner:
    """A torch module on the CPU; float inputs are converted to ``dtype``, outputs to float32.

    It computes with ``threads`` threads; 0 is torch's own number.
    """

    def __init__(self, module: Callable[..., torch.Tensor], dtype: torch.dtype, threads: int = 0) -> None:
        self._module = module
        self._dtype = dtype
        self._threads = threads

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the module's output for each of ``batches``."""
        import torch

        outputs = []
        with torch.inference_mode(), torch_threads(self._threads):
            for arrays in batches:
                inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
                output = self._module(*(x.to(self._dtype) if x.is_floating_point() else x for x in inputs))
                outputs.append(output.float().numpy())
        return outputs


def converted(program: Program, dtype: torch.dtype) -> nn.Module:
    """Return a copy of the program's module with its float parameters and buffers in ``dtype``."""
    from torch import nn

    with program.hold():
        program.load()
        module = program.module()
        # Handing deepcopy the converted tensors spares a copy of the originals.
        memo: dict[int, object] = {
            id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in module.parameters()
        }
        memo |= {id(b): b.to(dtype) if b.is_floating_point() else b.clone() for b in module.buffers()}
        twin: nn.Module = copy.deepcopy(module, memo)
    for part in twin.modules():  # the hooks that read weights at first use belong to the original
        part._forward_pre_hooks.clear()
        part._forward_hooks.clear()
    return twin
