"""One quantization: the model, the recipe, and what is done of it so far, which a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from aios_db.engine.architectures.kinds import LANGUAGE
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.quantization.budget import calibration_budget
from aios_db.engine.quantization.calibration import Calibration
from aios_db.engine.quantization.checkpoint import Checkpoint
from aios_db.engine.quantization.gptq import GptqSettings
from aios_db.engine.quantization.methods import METHODS
from aios_db.engine.quantization.rounding import Grid, Quantized
from aios_db.engine.quantization.subject import Batch, block_linears, load_model
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import QuantizationConfig
from aios_db.schema.progress import Progress

BATCH_TOKENS = 2048
"""Tokens of a batch that rounding and GPTQ look at."""
_ROUNDING_TOKENS = {"int8": 4096, "int2": 40_000}  # enough for means, and for the inputs' sizes


class Job:
    """What the steps of one quantization share; each is skipped when the checkpoint has its result.

    Attributes
    ----------
    reference : nn.Module
        The original, in float32 on ``device``.
    linears : dict[str, nn.Linear]
        Its linear layers inside blocks, by name.
    budget : Budget
        How much of the calibration it is shown.
    language_model : bool
        Whether it scores tokens instead of embedding its input.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        file: WeightFile,
        calibration: Calibration,
        config: QuantizationConfig,
        checkpoint: Checkpoint,
        *,
        device: torch.device,
        sensitivity: Mapping[str, float] | None,
        progress: Progress,
    ) -> None:
        self.config, self.progress, self.device = config, progress, device
        self.method = METHODS[config.method]
        self.language_model = kind_of(directory) is LANGUAGE
        self.reference = load_model(directory, file).to(device)
        self.linears = block_linears(self.reference)
        self.budget = calibration_budget(self.linears.values())
        self._calibration, self._checkpoint = calibration, checkpoint
        self._state = checkpoint.load()
        if sensitivity:
            self._state["sensitivity"] = dict(sensitivity)

    @property
    def state(self) -> Mapping[str, Any]:
        """What the checkpoint holds."""
        return self._state

    def keep(self, **results: Any) -> None:
        """Add results to the state, and write the checkpoint."""
        self._state |= results
        self.save()

    def save(self, **passing: Any) -> None:
        """Write the checkpoint, with what need not be held in memory meanwhile."""
        self._checkpoint.save({**self._state, **passing})

    def fitted_on(self) -> list[Batch]:
        """Return the batches that layers are fitted on, on the device."""
        batches = self.batches(BATCH_TOKENS)
        wanted = self.config.calibration_tokens
        if wanted < 0:
            wanted = self.budget.solved
        if not self.method.together:
            wanted = min(wanted, _ROUNDING_TOKENS[self.config.target])
        taken, tokens = [], 0
        for batch in batches:
            taken.append(batch.to(self.device))
            tokens += batch.positions
            if tokens >= wanted:
                break
        return taken

    def batches(self, tokens: int) -> Sequence[Batch]:
        """Return the calibration as batches of about ``tokens`` positions."""
        return self._calibration.batches(self.reference, tokens=tokens, seed=self.config.seed)

    def small_grid(self) -> Grid:
        """Return the grid of 2 bits."""
        return Grid(2, self.config.group_size, self.config.symmetric)

    def gptq(self, refinements: int) -> GptqSettings:
        """Return the recipe's settings of GPTQ."""
        return GptqSettings(self.config.damping, self.config.act_order, refinements)

    def counted(self, what: str, already: int = 0) -> Callable[[str, Quantized, float], None]:
        """Return what counts layers that are done and tells the progress."""
        count = already

        def done(_: str, __: Quantized, ___: float) -> None:
            nonlocal count
            count += 1
            self.progress(what, count, len(self.linears))

        return done
