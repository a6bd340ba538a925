"""The steps of a quantization: grids, rounding or GPTQ, distillation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from aios_db.engine.quantization.checkpoint import pack_quantized, unpack_quantized
from aios_db.engine.quantization.device_fallback import CPU
from aios_db.engine.quantization.distill import Distillation, DistillationSettings
from aios_db.engine.quantization.grids import choose_grids
from aios_db.engine.quantization.job import Job
from aios_db.engine.quantization.layers import put_back, quantize_layers
from aios_db.engine.quantization.rounding import Grid, Quantized
from aios_db.engine.quantization.subject import Batch, copied

log = logging.getLogger("aios_db.engine.quantization")

SAVE_EVERY = 100
"""Steps of distillation between two checkpoints."""


@dataclass(frozen=True)
class Outcome:
    """A quantized model, on the CPU."""

    model: nn.Module
    layers: dict[str, Quantized]
    """Its quantized layers, by name."""
    sensitivity: dict[str, float]
    """What was measured of mixed precision, by layer."""
    language_model: bool
    """As `Job.language_model`."""


def run(job: Job) -> Outcome:
    """Do the steps that the job's checkpoint has no result of."""
    torch.manual_seed(job.config.seed)
    batches = job.fitted_on()
    grids, measured = choose_grids(job, batches)
    model = copied(job.reference)
    quantized = _round(job, model, batches, grids)
    if _steps(job):
        quantized = _distil(job, model, quantized)
    layers = {name: layer.to(CPU) for name, layer in quantized.items()}
    return Outcome(model.to(CPU), layers, measured, job.language_model)


def _round(
    job: Job, model: nn.Module, batches: Sequence[Batch], grids: dict[str, Grid]
) -> dict[str, Quantized]:
    if "model" in job.state:
        model.load_state_dict(job.state["model"], strict=False)
    known = unpack_quantized(job.state.get("layers", {}))
    if len(known) == len(grids):
        put_back(model, known)
        return known
    count = job.counted(job.method.doing, len(known))
    settings = job.gptq(job.config.refinements) if job.method.together else None
    done = dict(known)

    def keep(name: str, layer: Quantized, error: float) -> None:
        count(name, layer, error)
        done[name] = layer
        log.debug("quantized %s: %.4f of the output's size", name, error)

    def save() -> None:
        # Weights follow from the integers.
        biases = {name: each for name, each in model.state_dict().items() if each.dim() == 1}
        job.keep(layers=pack_quantized(done), model=biases)

    return quantize_layers(
        job.reference, model, batches,
        grids=grids, settings=settings, done=keep, known=known, advanced=save,
    )  # fmt: skip


def _steps(job: Job) -> int:
    if job.config.target == "int8":
        return 0
    steps = job.config.distillation_steps
    if steps < 0:
        if job.budget.distilled:
            return job.method.steps
        log.warning("a model of this size is not distilled unless a number of steps is given")
        return 0
    return steps


def _distil(job: Job, model: nn.Module, quantized: dict[str, Quantized]) -> dict[str, Quantized]:
    settings = DistillationSettings(
        _steps(job),
        job.config.learning_rate,
        moving=job.method.together,
        seed=job.config.seed,
    )
    training = Distillation(job.reference, model, quantized, settings, language_model=job.language_model)
    if "distillation" in job.state:
        training.restore(job.state["distillation"])
    batches = job.batches(job.config.distillation_tokens)

    def save(state: dict[str, Any]) -> None:
        job.save(distillation=state)

    def count(step: int, _: float) -> None:
        job.progress("distilling", step, settings.steps)

    return training.run(batches, count, save, every=SAVE_EVERY)
