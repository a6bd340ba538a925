"""The methods of quantization, from the quickest to the most precise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """How the integers of a layer are chosen, and how long the model is trained behind them."""

    doing: str
    """What is told of it while it works."""
    together: bool
    """Whether a layer's integers are chosen together, by GPTQ, and may change in distillation.

    Otherwise each is rounded to nearest with fitted scales, which looks at fewer tokens, and stays.
    """
    steps: int
    """Steps of distillation, unless the configuration says."""


METHODS = {
    "ptq": Method("rounding", together=False, steps=300),
    "gptq": Method("GPTQ", together=True, steps=1_600),
    "full": Method("GPTQ", together=True, steps=5_000),
}
"""By their names in `QuantizationConfig.method`."""
