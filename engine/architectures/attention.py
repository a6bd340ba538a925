"""Multi-head self-attention, shared by Whisper and both towers of CLIP."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention, its projections named as in Hugging Face's encoders."""

    def __init__(self, hidden_size: int, num_heads: int, *, key_bias: bool = True) -> None:
        super().__init__()
        self.head_dim = hidden_size // num_heads
        self.k_proj = nn.Linear(hidden_size, hidden_size, bias=key_bias)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, hidden_size)

    def forward(
        self,
        x: Tensor,
        rows: int | None = None,
        more: tuple[Tensor, Tensor] | None = None,
        bias: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Tensor:
        """Attend from the first ``rows`` positions (all when None) to every position.

        Parameters
        ----------
        x
            (batch, positions, hidden).
        rows
            How many leading positions to answer for.
        more
            Keys and values of further positions, each (batch, extra, hidden), as the projections make them.
        bias
            Added to the attention scores; broadcasts to (batch, heads, rows, positions + extra).
        causal
            Whether each position attends to none behind itself; without ``rows``, ``more`` and ``bias``.

        Returns
        -------
        Tensor
            (batch, rows, hidden).
        """
        q, k, v = self.q_proj(x if rows is None else x[:, :rows]), self.k_proj(x), self.v_proj(x)
        if more is not None:
            k, v = torch.cat((k, more[0]), 1), torch.cat((v, more[1]), 1)
        attended = F.scaled_dot_product_attention(
            self._heads(q), self._heads(k), self._heads(v), attn_mask=bias, is_causal=causal
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        batch, positions, _ = x.shape
        return x.view(batch, positions, -1, self.head_dim).transpose(1, 2)
