"""The CLIP image encoder (Radford et al., 2021): a Vision Transformer, projected to the joint space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aios_db.engine.architectures.clip_layers import ClipConfig, ClipEncoder


@dataclass(frozen=True)
class ClipVisionConfig(ClipConfig):
    """Sizes of an image encoder; the defaults are ViT-B/32's."""

    image_size: int = 224
    patch_size: int = 32


class ClipImageEncoder(nn.Module):
    """Pixels to a vector of the joint space; parameters carry Hugging Face's tensor names."""

    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_model = _VisionModel(config)
        self.visual_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed images.

        Parameters
        ----------
        pixels
            (batch, 3, image_size, image_size), normalised as `aios_db.engine.frontends.image` does.

        Returns
        -------
        Tensor
            (batch, projection_dim), not normalised; ``image_embeds`` of CLIPVisionModelWithProjection.
        """
        return self.visual_projection(self.vision_model(pixels))  # type: ignore[no-any-return]


class _VisionModel(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)  # the field's spelling
        self.encoder = ClipEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, hidden), the state of the class token."""
        *layers, last = self.encoder.layers
        x = self.pre_layrnorm(self.embeddings(pixels))
        for layer in layers:
            x = layer(x)
        return self.post_layernorm(last(x, rows=1)[:, 0])  # type: ignore[no-any-return]


class _Embeddings(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        patches = (config.image_size // config.patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.empty(config.hidden_size))
        self.patch_embedding = nn.Conv2d(
            3, config.hidden_size, config.patch_size, stride=config.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(1 + patches, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, 1 + patches, hidden)."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        # Not expand(len(pixels), …): a tracer would keep the length of its example for good.
        first = self.class_embedding + torch.zeros_like(patches[:, :1])
        return torch.cat((first, patches), 1) + self.position_embedding.weight


def build(config: Mapping[str, Any]) -> ClipImageEncoder:
    """Build the module a model's ``config`` describes."""
    return ClipImageEncoder(ClipVisionConfig.from_metadata(config))
