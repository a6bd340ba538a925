"""Which layers get more bits: measured by what each one's rounding alone does to the model's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from aios_db.engine.quantization.gptq import GptqSettings
from aios_db.engine.quantization.layers import Done, quantize_layers
from aios_db.engine.quantization.rounding import Grid, Quantized
from aios_db.engine.quantization.subject import (
    Batch,
    copied,
    device_of,
    divergence,
    fast_arithmetic,
)


def sensitivities(
    reference: nn.Module,
    batches: Sequence[Batch],
    probes: Sequence[Batch],
    *,
    grids: Mapping[str, Grid],
    settings: GptqSettings | None,
    language_model: bool,
    done: Done,
    advanced: Callable[[Mapping[str, float]], None] | None = None,
) -> dict[str, float]:
    """Return for each layer in ``grids`` the divergence of the output when it alone is quantized.

    Parameters
    ----------
    batches
        What the layers are fitted on.
    probes
        What the divergence is measured on: others.
    language_model
        Whether the model scores tokens instead of embedding its input.
    advanced
        Called after each block with what is measured so far.
    """
    model = copied(reference)
    result: dict[str, float] = {}
    expected = [_forward(reference, probe) for probe in probes]

    def measure(name: str, quantized: Quantized, error: float) -> None:
        outputs = [_forward(model, probe) for probe in probes]
        result[name] = sum(
            float(divergence(probe, a, b, language_model=language_model))
            for probe, a, b in zip(probes, expected, outputs, strict=True)
        ) / len(probes)
        model.get_submodule(name).load_state_dict(reference.get_submodule(name).state_dict())
        done(name, quantized, error)

    # Each layer is put back before the next: what flows through the model is the reference's.
    quantize_layers(
        model, model, batches,
        grids=grids, settings=settings, done=measure, advanced=lambda: advanced and advanced(result),
    )  # fmt: skip
    return result


def _forward(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad(), fast_arithmetic(device_of(model)):
        output: Tensor = model(*batch.arguments)
    return output.float()
