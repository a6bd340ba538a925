"""Run a causal language model where the configuration asks for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from aios_db.engine.backends.accelerator import Accelerator
from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.backends.device_session import DeviceSession
from aios_db.engine.backends.protocol import Runner
from aios_db.engine.backends.selection import mean_cosine
from aios_db.engine.backends.standard import converted
from aios_db.engine.backends.threads import torch_threads
from aios_db.engine.catalog.open_model import OpenModel
from aios_db.engine.generation.causal import Running
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import NotSupportedError

if TYPE_CHECKING:
    from aios_db.engine.architectures.qwen2 import Qwen2ForCausalLM

log = logging.getLogger("aios_db.engine")

Answer = TypeVar("Answer")
Work = Callable[[Running], Answer]


class CausalSession(DeviceSession):
    """One language model, ready to run; safe to use from several threads.

    On the CPU it runs in torch, on ``cpu.threads`` threads, in fp32 or, where ``cpu.precision`` asks for it
    and the vectors stay within ``cpu.min_cosine``, in bf16; on CUDA, ROCm and MPS as `Accelerator` says.

    Parameters
    ----------
    sample
        Returns a text as tokens, on which another precision is compared with fp32.
    """

    def __init__(
        self, model: OpenModel, cpu: CpuConfig, device: DeviceConfig, sample: Callable[[], Sequence[int]]
    ) -> None:
        program = model.program(((-1, -1),), list, list, bulk=1, quantizable=False)
        super().__init__(program, device)
        self._model, self._sample = model, sample
        self._threads, self._asked, self._min_cosine = cpu.threads, cpu, cpu.min_cosine
        self._preparing = threading.Lock()
        self._network: Qwen2ForCausalLM | None = None
        self.precision = "integers" if model.integers else "fp32"
        """Arithmetic of the CPU; not known before the first run on it."""

    def run(self, work: Work[Answer]) -> Answer:
        """Return what ``work`` makes of the network; done again on the CPU when the device fails."""
        return self._answer(
            lambda accelerator: self._work_on_device(accelerator, work), lambda: self._work_on_cpu(work)
        )

    def _work_on_device(self, accelerator: Runner, work: Work[Answer]) -> Answer:
        if not isinstance(accelerator, Accelerator):
            raise NotSupportedError(f"{self.device.target} runs no language models")
        with accelerator.computing() as network:
            return work(Running(cast("Qwen2ForCausalLM", network), accelerator.device, accelerator.watch))

    def _work_on_cpu(self, work: Work[Answer]) -> Answer:
        import torch

        with torch.inference_mode(), torch_threads(self._threads):
            with self._preparing:
                if self._network is None:
                    self._network = self._prepared()
            return work(Running(self._network, torch.device("cpu")))

    def _prepared(self) -> Qwen2ForCausalLM:
        """Return the network in the precision asked for, or in fp32, with a warning, when it cannot be."""
        import torch

        network = cast("Qwen2ForCausalLM", self._model.module)
        if self._asked.backend not in ("auto", "standard"):
            log.warning(
                "a language model runs on the standard back end, not on %s", self._asked.backend,
                extra={"event": "backend_missing", "backend": self._asked.backend},
            )  # fmt: skip
        asked = self._asked.precision
        if self._model.integers or asked in ("auto", "fp32"):
            return network
        if asked == "int8":
            self._warn("it is not quantized", asked)
            return network
        if not cpu_features().has_bf16:
            self._warn("this CPU does not multiply bf16", asked)
            return network
        fast = cast("Qwen2ForCausalLM", converted(self._program, torch.bfloat16))
        ids = torch.tensor([list(self._sample())])
        states = (each.model(ids)[0].float().numpy() for each in (fast, network))
        cosine = mean_cosine(*states)
        if not cosine > self._min_cosine or not np.isfinite(cosine):
            self._warn(f"in bf16 its cosine {cosine:.4f} is not above {self._min_cosine:g}", asked)
            return network
        self.precision = "bf16"
        return fast

    def _warn(self, why: str, precision: str) -> None:
        log.warning(
            "%s runs in fp32: %s", self._program.name, why,
            extra={"event": "precision_unavailable", "precision": precision},
        )  # fmt: skip
