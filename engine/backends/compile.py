"""The `torch.compile` back end: TorchInductor fuses the modules into C++ loops; needs a C++ compiler."""

from __future__ import annotations

import shutil

from aios_db.engine.backends.cpu_features import CpuFeatures
from aios_db.engine.backends.protocol import Arithmetic, Program
from aios_db.engine.backends.standard import TorchRunner, converted, float_precisions


class Compile:
    """TorchInductor with dynamic shapes; the first pass in each process takes tens of seconds."""

    def missing(self) -> str | None:
        """Return why not, where there is no C++ compiler."""
        if any(shutil.which(name) for name in ("g++", "clang++", "c++", "cl")):
            return None
        return "torch.compile needs a C++ compiler (g++, clang++ or cl) on the PATH"

    def precisions(self, features: CpuFeatures) -> tuple[Arithmetic, ...]:
        """Return fp32, and bf16 where the CPU multiplies it."""
        return float_precisions(features)

    def prepare(self, program: Program, precision: Arithmetic, threads: int) -> TorchRunner:
        """Compile a copy of the module, and run it once so that the cost lies here."""
        import torch

        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        dynamic = any(-1 in shape for shape in program.shapes)
        compiled = torch.compile(converted(program, dtype), dynamic=dynamic)
        runner = TorchRunner(compiled, dtype, threads)
        runner.run(program.check()[:2])
        return runner
