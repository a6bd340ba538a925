"""The CLIP text encoder (Radford et al., 2021): a causal transformer, projected beside pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aios_db.engine.architectures.clip_layers import ClipConfig, ClipEncoder
from aios_db.engine.architectures.sizes import LEGACY_EOS


@dataclass(frozen=True)
class ClipTextConfig(ClipConfig):
    """Sizes of a text encoder; the defaults are ViT-B/32's."""

    hidden_size: int = 512
    num_attention_heads: int = 8
    intermediate_size: int = 2048
    vocab_size: int = 49408
    max_position_embeddings: int = 77
    eos_token_id: int = 49407
    """The token that a text is pooled at, where it comes first; with `LEGACY_EOS` at the highest token."""


class ClipTextEncoder(nn.Module):
    """Token ids to a vector of the joint space; parameters carry Hugging Face's tensor names."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = _TextModel(config)
        self.text_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed texts.

        What follows the end of a text does not change its vector, so that rows of unequal length are padded
        on the right, with any token that is not the end.

        Parameters
        ----------
        ids
            (batch, positions) int64, at most ``max_position_embeddings`` positions.

        Returns
        -------
        Tensor
            (batch, projection_dim), not normalised; ``text_embeds`` of CLIPTextModelWithProjection.
        """
        return self.text_projection(self.text_model(ids))  # type: ignore[no-any-return]


class _TextModel(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.eos_token_id = config.eos_token_id
        self.embeddings = _Embeddings(config)
        self.encoder = ClipEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        """(batch, positions) -> (batch, hidden), the state at the end of each text."""
        x = self.embeddings(ids).to(self.final_layer_norm.weight.dtype)  # tables may be stored in fewer bits
        for layer in self.encoder.layers:
            x = layer(x, causal=True)
        marked = ids if self.eos_token_id == LEGACY_EOS else (ids == self.eos_token_id).to(ids.dtype)
        ends = marked.argmax(-1, keepdim=True).unsqueeze(-1)  # the first of several
        return self.final_layer_norm(x.gather(1, ends.expand(-1, -1, x.shape[-1]))[:, 0])  # type: ignore[no-any-return]


class _Embeddings(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        """(batch, positions) -> (batch, positions, hidden)."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(positions)  # type: ignore[no-any-return]


def build(config: Mapping[str, Any]) -> ClipTextEncoder:
    """Build the module a model's ``config`` describes."""
    return ClipTextEncoder(ClipTextConfig.from_metadata(config))
