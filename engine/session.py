"""Run a program where the configuration asks for it, and finish elsewhere if that fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.engine.backends.selection import Choice, CpuSelection
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import Error

log = logging.getLogger("aios_db.engine")


class Session:
    """One model, ready to run; safe to use from several threads.

    Nothing is loaded before the first `run`.
    """

    def __init__(self, program: Program, cpu: CpuConfig) -> None:
        self._cpu = CpuSelection(program, cpu)

    @property
    def choice(self) -> Choice | None:
        """The CPU back end that was chosen; None before the choice."""
        return self._cpu.choice

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the program's output for each of ``batches``, all from one back end.

        A back end that fails is given up with a warning, and the standard one answers the whole call.
        """
        if not batches:
            return []
        runner = self._cpu.runner(items=sum(len(arrays[0]) for arrays in batches))
        if runner is self._cpu.standard:
            start = time.perf_counter()
            outputs = runner.run(batches)
            self._cpu.spent(time.perf_counter() - start)
            return outputs
        try:
            return runner.run(batches)
        except Error:
            raise
        except Exception as error:  # whatever the library below raises
            return self._cpu.fail(error).run(batches)

    def tune(self) -> Choice:
        """Measure the back ends now, whether or not a choice is remembered, and use the fastest.

        Takes tens of seconds; otherwise done when a bulk call first makes it worth it.
        """
        self._cpu.tune()
        assert self._cpu.choice is not None
        return self._cpu.choice
