"""BERT (Devlin et al. 2018) as a text encoder; Hugging Face's tensor names, without ``bert.``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from aios_db.schema.errors import NotSupportedError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
}


class BertEmbeddings(nn.Module):
    """Word, position and token type embeddings, summed and normalised."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden = int(config["hidden_size"])
        self.word_embeddings = nn.Embedding(int(config["vocab_size"]), hidden)
        self.position_embeddings = nn.Embedding(int(config["max_position_embeddings"]), hidden)
        self.token_type_embeddings = nn.Embedding(int(config.get("type_vocab_size", 2)), hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=float(config.get("layer_norm_eps", 1e-12)))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return (batch, length, hidden) for (batch, length) token ids; every token is of type 0."""
        dtype = self.LayerNorm.weight.dtype  # the tables may be stored in half precision; the sum is not
        position = self.position_embeddings.weight[: input_ids.shape[1]].to(dtype)
        token_type = self.token_type_embeddings.weight[0].to(dtype)
        normalised: Tensor = self.LayerNorm(self.word_embeddings(input_ids).to(dtype) + position + token_type)
        return normalised


class BertSelfAttention(nn.Module):
    """The query, key and value projections and the attention between them."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return (batch, length, hidden); ``mask`` is True where a key may be attended to."""
        batch, length, hidden = x.shape
        shape = (batch, length, self.heads, hidden // self.heads)
        query, key, value = (
            project(x).view(shape).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attended.transpose(1, 2).reshape(batch, length, hidden)


class BertResidual(nn.Module):
    """A projection added to the residual stream and normalised (HF's ``SelfOutput`` and ``Output``)."""

    def __init__(self, size: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(size, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the normalised sum."""
        summed: Tensor = self.LayerNorm(self.dense(x) + residual)
        return summed


class BertAttention(nn.Module):
    """Self-attention with its output projection."""

    def __init__(self, hidden: int, heads: int, eps: float) -> None:
        super().__init__()
        self.self = BertSelfAttention(hidden, heads)
        self.output = BertResidual(hidden, hidden, eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return (batch, length, hidden)."""
        attended: Tensor = self.output(self.self(x, mask), x)
        return attended


class BertIntermediate(nn.Module):
    """The first half of the feed-forward network."""

    def __init__(self, hidden: int, intermediate: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, intermediate)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, length, intermediate)."""
        return self.activation(self.dense(x))


class BertLayer(nn.Module):
    """One transformer layer, normalised after each half."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, intermediate = int(config["hidden_size"]), int(config["intermediate_size"])
        eps, activation = float(config.get("layer_norm_eps", 1e-12)), str(config.get("hidden_act", "gelu"))
        if activation not in ACTIVATIONS:
            raise NotSupportedError(f"hidden_act {activation!r} is not one of {', '.join(ACTIVATIONS)}")
        self.attention = BertAttention(hidden, int(config["num_attention_heads"]), eps)
        self.intermediate = BertIntermediate(hidden, intermediate, activation)
        self.output = BertResidual(intermediate, hidden, eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return (batch, length, hidden)."""
        attended = self.attention(x, mask)
        out: Tensor = self.output(self.intermediate(attended), attended)
        return out


class BertEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(int(config["num_hidden_layers"])))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return (batch, length, hidden) after the last layer."""
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BertTextEncoder(nn.Module):
    """BERT and its pooling: token ids in, one vector a text out (not yet of unit length)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.pooling = str(config.get("pooling", "mean"))
        if self.pooling not in ("mean", "cls"):
            raise NotSupportedError(f"pooling {self.pooling!r} is not mean or cls")
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the last layer's output, (batch, length, hidden).

        Parameters
        ----------
        input_ids
            (batch, length) int64 token ids.
        attention_mask
            (batch, length), 1 where there is a token and 0 where there is padding.
        """
        # (batch, 1, 1, length): broadcast over heads and queries
        mask = attention_mask[:, None, None, :].bool()
        hidden: Tensor = self.encoder(self.embeddings(input_ids), mask)
        return hidden

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the pooled vectors, (batch, hidden); arguments as `hidden_states`."""
        hidden = self.hidden_states(input_ids, attention_mask)
        if self.pooling == "cls":
            return hidden[:, 0]
        weights = attention_mask.to(hidden.dtype).unsqueeze(-1)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def build(config: Mapping[str, Any]) -> BertTextEncoder:
    """Build the encoder from ``model_info``: hidden_size, num_hidden_layers, num_attention_heads, …."""
    return BertTextEncoder(config)
