"""The pre-norm transformer that both towers of CLIP are made of."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aios_db.engine.architectures.attention import SelfAttention
from aios_db.schema.errors import NotSupportedError

ACTIVATIONS = ("quick_gelu", "gelu")


class ClipSizes(Protocol):
    """What the layers need of a tower's configuration."""

    @property
    def hidden_size(self) -> int:
        """Width of a state."""
        ...

    @property
    def num_layers(self) -> int:
        """How many layers."""
        ...

    @property
    def num_attention_heads(self) -> int:
        """Of a layer."""
        ...

    @property
    def intermediate_size(self) -> int:
        """Width between the two matrices of a layer."""
        ...

    @property
    def layer_norm_eps(self) -> float:
        """Added to variances."""
        ...

    @property
    def hidden_act(self) -> str:
        """One of `ACTIVATIONS`."""
        ...


def require_activation(name: str) -> None:
    """Refuse an activation that is neither of `ACTIVATIONS`, by a `NotSupportedError`."""
    if name not in ACTIVATIONS:
        raise NotSupportedError(f"CLIP with hidden_act {name!r}: this engine knows {', '.join(ACTIVATIONS)}")


class ClipEncoder(nn.Module):
    """The layers of a tower."""

    def __init__(self, config: ClipSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))


class _Layer(nn.Module):
    def __init__(self, config: ClipSizes) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config.hidden_size, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = _Mlp(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor, rows: int | None = None, *, causal: bool = False) -> Tensor:
        """(batch, positions, hidden) -> (batch, rows, hidden); see `SelfAttention.forward`."""
        x = x[:, :rows] + self.self_attn(self.layer_norm1(x), rows=rows, causal=causal)
        return x + self.mlp(self.layer_norm2(x))  # type: ignore[no-any-return]


class _Mlp(nn.Module):
    def __init__(self, config: ClipSizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.quick = config.hidden_act == "quick_gelu"

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden) -> (…, hidden)."""
        x = self.fc1(x)
        x = x * torch.sigmoid(1.702 * x) if self.quick else F.gelu(x)
        return self.fc2(x)  # type: ignore[no-any-return]
