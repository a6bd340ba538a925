"""The Whisper audio encoder (Radford et al., 2022): convolutions over log-mel frames, then a Transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aios_db.engine.architectures.attention import SelfAttention


@dataclass(frozen=True)
class WhisperConfig:
    """Sizes of an encoder; the defaults are Whisper-tiny's."""

    hidden_size: int = 384
    num_layers: int = 4
    num_attention_heads: int = 6
    intermediate_size: int = 1536
    num_mel_bins: int = 80
    max_source_positions: int = 1500
    """Encoder frames of a full window; a frame is 20 ms."""

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> WhisperConfig:
        """Read metadata.json's ``config`` section, in its own key names or in Hugging Face's."""
        default = cls()

        def size(*names: str, fallback: int) -> int:
            return next((int(config[name]) for name in names if config.get(name) is not None), fallback)

        hidden = size("hidden_size", "d_model", fallback=default.hidden_size)
        return cls(
            hidden_size=hidden,
            num_layers=size("num_layers", "encoder_layers", "num_hidden_layers", fallback=default.num_layers),
            num_attention_heads=size("num_attention_heads", "encoder_attention_heads", fallback=hidden // 64),
            intermediate_size=size("intermediate_size", "encoder_ffn_dim", fallback=4 * hidden),
            num_mel_bins=size("num_mel_bins", fallback=default.num_mel_bins),
            max_source_positions=size("max_source_positions", fallback=default.max_source_positions),
        )


class WhisperLayer(nn.Module):
    """A pre-norm Transformer layer."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.self_attn = SelfAttention(hidden, config.num_attention_heads, key_bias=False)
        self.self_attn_layer_norm = nn.LayerNorm(hidden)
        self.fc1 = nn.Linear(hidden, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, hidden)
        self.final_layer_norm = nn.LayerNorm(hidden)

    def forward(
        self,
        x: Tensor,
        rows: int | None = None,
        more: tuple[Tensor, Tensor] | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """(batch, positions, hidden) -> (batch, rows, hidden); see `SelfAttention.forward`."""
        x = x[:, :rows] + self.self_attn(self.self_attn_layer_norm(x), rows, more, bias)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))  # type: ignore[no-any-return]


class WhisperEncoder(nn.Module):
    """Log-mel frames to states; parameters carry the tensor names of a stored model."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _Encoder(config)

    def forward(self, mel: Tensor) -> Tensor:
        """Encode a full window.

        Parameters
        ----------
        mel
            (batch, num_mel_bins, 2 * max_source_positions) log-mel frames of 10 ms, as
            `aios_db.engine.frontends.log_mel` makes them.

        Returns
        -------
        Tensor
            (batch, max_source_positions, hidden_size), what ``WhisperModel.encoder`` of transformers returns.
        """
        x = self.encoder.stem(mel) + self.encoder.position_embedding
        for layer in self.encoder.layers:
            x = layer(x)
        return self.encoder.layer_norm(x)  # type: ignore[no-any-return]


class WhisperMean(nn.Module):
    """The encoder and a weighted mean over its frames."""

    def __init__(self, whisper: WhisperEncoder) -> None:
        super().__init__()
        self.whisper = whisper

    def forward(self, mel: Tensor, weights: Tensor) -> Tensor:
        """(batch, mels, 2 n), (batch, n) -> (batch, hidden); see `WhisperEncoder.forward`."""
        return torch.bmm(weights.unsqueeze(1), self.whisper(mel)).squeeze(1)


class WhisperStates(nn.Module):
    """The encoder over a clip with some silence behind it: the states of the clip's own frames.

    Whisper was trained on clips that silence fills up to 30 s, and takes the end of one that has none for
    the middle of a word.

    Parameters
    ----------
    whisper
        The encoder.
    silence
        Frames of it behind each clip.
    """

    def __init__(self, whisper: WhisperEncoder, silence: int) -> None:
        super().__init__()
        self.whisper, self.silence = whisper, silence

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, mels, 2 n), n of `WhisperConfig.max_source_positions` at most -> (batch, frames, hidden).

        The last frames, of the silence, are left out.
        """
        encoder = self.whisper.encoder
        x = encoder.stem(mel)
        x = x + encoder.position_embedding[: x.shape[1]]
        for layer in encoder.layers:
            x = layer(x)
        return encoder.layer_norm(x)[:, : x.shape[1] - self.silence]  # type: ignore[no-any-return]


class _Encoder(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.conv1 = nn.Conv1d(config.num_mel_bins, hidden, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(hidden, hidden, kernel_size=3, stride=2, padding=1)
        self.position_embedding = nn.Parameter(torch.empty(config.max_source_positions, hidden))
        self.layers = nn.ModuleList(WhisperLayer(config) for _ in range(config.num_layers))
        self.layer_norm = nn.LayerNorm(hidden)

    def stem(self, mel: Tensor) -> Tensor:
        """(batch, mels, 2 n) -> (batch, n, hidden), without positions."""
        return F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)


def build(config: Mapping[str, Any]) -> WhisperEncoder:
    """Build the module a model's ``config`` describes."""
    return WhisperEncoder(WhisperConfig.from_metadata(config))
