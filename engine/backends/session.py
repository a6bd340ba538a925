"""Run a program of arrays where the configuration asks for it, and finish elsewhere if that fails."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.device_session import DeviceSession
from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.engine.backends.selection import Choice, CpuSelection
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import Error


class Session(DeviceSession):
    """One model, ready to run; safe to use from several threads.

    Nothing is loaded, and no device looked for, before the first use.
    """

    def __init__(self, program: Program, cpu: CpuConfig, device: DeviceConfig) -> None:
        super().__init__(program, device)
        self._cpu = CpuSelection(program, cpu)

    @property
    def choice(self) -> Choice | None:
        """The CPU back end that was chosen; None before the choice."""
        return self._cpu.choice

    @property
    def remembered(self) -> Choice | None:
        """What was chosen on this machine before; None where nothing was."""
        return self._cpu.choice or self._cpu.remembered()

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the program's output for each of ``batches``, all from one device and one back end.

        An accelerator that fails leaves the whole call to the CPU, with a warning; after anything but a lack
        of memory it is not tried again. A back end that fails leaves it to the standard one.

        Raises
        ------
        DeviceError
            The accelerator failed and ``fallback_enabled`` is off.
        """
        if not batches:
            return []
        return self._answer(lambda device: device.run(batches), lambda: self._on_cpu(batches))

    def tune(self) -> Choice:
        """Measure the CPU back ends now, whether or not a choice is remembered, and use the fastest.

        Takes tens of seconds; otherwise done when a bulk call first makes it worth it.
        """
        self._cpu.tune()
        assert self._cpu.choice is not None
        return self._cpu.choice

    def settle(self) -> None:
        """Choose the CPU back end now, unless calls start elsewhere."""
        if self.is_on_cpu:
            self._cpu.runner(items=self._program.bulk)

    def close(self) -> None:
        """Let go of what runs the model, on the device and on the CPU."""
        super().close()
        self._cpu.let_go()

    def _on_cpu(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        runner = self._cpu.runner(items=sum(len(arrays[0]) for arrays in batches))
        if self._cpu.choice is None:
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
