"""The pre-norm transformer that both towers of CLIP are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aios_db.engine.architectures.attention import SelfAttention
from aios_db.schema.errors import NotSupportedError

if TYPE_CHECKING:
    from typing_extensions import Self

ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of a tower; the defaults are those of ViT-B/32's picture side."""

    hidden_size: int = 768
    num_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512
    hidden_act: str = "quick_gelu"
    """``quick_gelu`` (OpenAI's models) or ``gelu`` (most OpenCLIP models)."""

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> Self:
        """Read metadata.json's ``config`` section; what it leaves out is ViT-B/32's.

        Raises
        ------
        NotSupportedError
            ``hidden_act`` is neither quick_gelu nor gelu.
        """
        names = {name: config[name] for name in cls.__dataclass_fields__ if config.get(name) is not None}
        if "num_layers" not in names and "num_hidden_layers" in config:
            names["num_layers"] = config["num_hidden_layers"]
        result = cls(**names)
        if result.hidden_act not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise NotSupportedError(f"CLIP with hidden_act {result.hidden_act!r}: this engine knows {known}")
        return result


class ClipEncoder(nn.Module):
    """The layers of a tower."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))


class _Layer(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
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
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.quick = config.hidden_act == "quick_gelu"

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden) -> (…, hidden)."""
        x = self.fc1(x)
        x = x * torch.sigmoid(1.702 * x) if self.quick else F.gelu(x)
        return self.fc2(x)  # type: ignore[no-any-return]
