"""Decoder-only language models of the Qwen2 family; Llama is the variant without attention biases.

Pre-norm layers with RMSNorm, rotary positions in the half-split form of Hugging Face, grouped-query
attention and SwiGLU (Qwen2 technical report, 2024; Touvron et al., 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aios_db.schema.errors import DataError, WeightsError


@dataclass(frozen=True)
class Qwen2Config:
    """Sizes of a causal language model."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    attention_bias: bool
    """Whether the query, key and value projections have biases: Qwen2's do, Llama's do not."""

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> Qwen2Config:
        """Read metadata.json's ``model_info`` section.

        Raises
        ------
        WeightsError
            A size without which the model cannot be built is missing.
        """
        try:
            hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
            return cls(
                vocab_size=int(config["vocab_size"]),
                hidden_size=hidden,
                intermediate_size=int(config["intermediate_size"]),
                num_hidden_layers=int(config["num_hidden_layers"]),
                num_attention_heads=heads,
                num_key_value_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or hidden // heads),
                max_position_embeddings=int(config["max_position_embeddings"]),
                rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
                rope_theta=float(config.get("rope_theta", 10000.0)),
                attention_bias=bool(
                    config.get("attention_bias", "Llama" not in config.get("architecture", ""))
                ),
            )
        except KeyError as error:
            raise WeightsError(
                f"metadata.json of the language model has no model_info.{error.args[0]}"
            ) from error


class KeyValueCache:
    """Keys and values of the tokens read so far, for every layer.

    Each layer's are allocated once for ``capacity`` tokens, so that a step writes one column and copies
    nothing.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (batch, key_value_heads, new, head_dim) and return views of everything so far."""
        if layer not in self._layers:
            batch, heads, _, head_dim = keys.shape
            shape = (batch, heads, self.capacity, head_dim)
            self._layers[layer] = keys.new_empty(shape), values.new_empty(shape)
        end = self.length + keys.shape[2]
        held = self._layers[layer]
        held[0][:, :, self.length : end] = keys
        held[1][:, :, self.length : end] = values
        return held[0][:, :, :end], held[1][:, :, :end]


class Qwen2ForCausalLM(nn.Module):
    """A language model; parameters carry Hugging Face's tensor names."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.config = config
        self.model = _Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Score the token that follows each position.

        Rows of unequal length are padded on the right: what follows a position does not change its score.

        Parameters
        ----------
        tokens
            (batch, new) int64 token ids.
        cache
            Holds the tokens before these and takes these in.

        Returns
        -------
        Tensor
            (batch, new, vocab_size) logits.

        Raises
        ------
        DataError
            The cache has no room for the tokens.
        """
        return self.lm_head(self.model(tokens, cache))  # type: ignore[no-any-return]

    def next_logits(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        """(batch, new) token ids -> (batch, vocab_size) logits of the one token after them."""
        return self.lm_head(self.model(tokens, cache)[:, -1])  # type: ignore[no-any-return]


class _Model(nn.Module):
    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """(batch, new) -> (batch, new, hidden), normalised."""
        past, new = cache.length if cache else 0, tokens.shape[1]
        if cache and past + new > cache.capacity:
            raise DataError(f"{past + new} tokens do not fit in a cache made for {cache.capacity}")
        x = self.embed_tokens(tokens).to(self.norm.weight.dtype)  # the table may be stored in fewer bits
        rotation = _rotation(self.config, past, new, x)
        mask = None
        if past and new > 1:
            mask = torch.ones(new, past + new, dtype=torch.bool, device=x.device).tril(past)
        for layer in self.layers:
            x = layer(x, rotation, mask, cache)
        if cache:
            cache.length += new
        return self.norm(x)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self, config: Qwen2Config, index: int) -> None:
        super().__init__()
        self.self_attn = _Attention(config, index)
        self.mlp = _Mlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        """(batch, new, hidden) -> the same shape."""
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self, config: Qwen2Config, index: int) -> None:
        super().__init__()
        self.index, self.head_dim = index, config.head_dim
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        """(batch, new, hidden) -> the same shape; ``mask`` is None unless old and several new tokens meet."""
        q = _rotate(self._heads(self.q_proj(x)), rotation)
        k = _rotate(self._heads(self.k_proj(x)), rotation)
        v = self._heads(self.v_proj(x))
        if cache:
            k, v = cache.update(self.index, k, v)
        causal = mask is None and x.shape[1] > 1
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)
        return self.o_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        batch, new, _ = x.shape
        return x.view(batch, new, -1, self.head_dim).transpose(1, 2)


class _Mlp(nn.Module):
    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden) -> (…, hidden)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


def _rotation(config: Qwen2Config, past: int, new: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the positions ``past … past + new``: two (new, head_dim / 2)."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=like.device) / config.head_dim
    positions = torch.arange(past, past + new, dtype=torch.float32, device=like.device)
    angles = torch.outer(positions, 1.0 / config.rope_theta**exponents)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (i, i + head_dim / 2) of (batch, heads, new, head_dim) by their positions' angles."""
    cos, sin = rotation
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def build(config: Mapping[str, Any]) -> Qwen2ForCausalLM:
    """Build the module a model's ``model_info`` describes."""
    return Qwen2ForCausalLM(Qwen2Config.from_metadata(config))
