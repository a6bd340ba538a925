"""Multi-head self-attention and the pre-norm feed-forward shared by the Whisper and ViT encoders."""

from __future__ import annotations

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

    def forward(self, x: Tensor, bias: Tensor | None = None, rows: int | None = None) -> Tensor:
        """Attend from the first ``rows`` positions (all when None) to every position.

        Parameters
        ----------
        x
            (batch, positions, hidden).
        bias
            Added to the attention scores; broadcasts to (batch, heads, rows, positions).
        rows
            How many leading positions to answer for.

        Returns
        -------
        Tensor
            (batch, rows, hidden).
        """
        q = self._heads(self.q_proj(x if rows is None else x[:, :rows]))
        attended = F.scaled_dot_product_attention(
            q, self._heads(self.k_proj(x)), self._heads(self.v_proj(x)), attn_mask=bias
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        batch, positions, _ = x.shape
        return x.view(batch, positions, -1, self.head_dim).transpose(1, 2)
