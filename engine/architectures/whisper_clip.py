"""Encode short clips with Whisper in time proportional to their length.

Whisper pads every clip to 30 s, and its frames attend to the silence after the clip, which therefore cannot
be left out: the mean of a clip's frames without it has a cosine of .62 to .98 to that of the padded run
(Whisper tiny.en). But what the silence says hardly depends on the clip. Its keys and values are computed once
a model, for four levels of silence (the log-mel floor follows the clip's loudest bin), and interpolated for
each clip; every fourth one is kept and counts four times. Only the clip and the first seconds after it, where
the silence still hears the clip, are computed.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor, nn

from aios_db.engine.architectures.whisper import WhisperEncoder

MARGIN = 150
"""Frames of silence after the clip that are computed with it; a frame is 20 ms."""
STRIDE = 4
"""One of so many frames of the remaining silence is kept."""
LEVELS = (-1.5, -1.1, -0.7, -0.3)
"""Log-mel values of silence, after a silent clip to after the loudest. With the two ends alone the cosine to
the padded run falls to .984; with more than these four it does not rise."""


class WhisperClipMean(nn.Module):
    """The encoder for windows that are silent after a while, and a weighted mean over the frames before."""

    def __init__(self, whisper: WhisperEncoder) -> None:
        super().__init__()
        self.whisper = whisper

    def forward(self, mel: Tensor, silence: Tensor, weights: Tensor) -> Tensor:
        """Embed the sounding part of a window.

        Parameters
        ----------
        mel
            (batch, num_mel_bins, 2 * (frames + MARGIN + 1)): the clip, padded with silence to whole frames,
            the margin, and one frame for the convolutions to run out in.
        silence
            (batch, layers, 2, extra, hidden): keys and values of the silence after the margin, from
            `silence_after`.
        weights
            (batch, frames).

        Returns
        -------
        Tensor
            (batch, hidden), close to what `WhisperMean` gives for the padded window.
        """
        encoder = self.whisper.encoder
        x = encoder.stem(mel)[:, :-1]
        computed, extra = x.shape[1], silence.shape[3]
        x = x + encoder.position_embedding[:computed]
        bias = torch.cat((x.new_zeros(computed), x.new_full((extra,), math.log(STRIDE)))).view(1, 1, 1, -1)
        last = len(encoder.layers) - 1
        for index, layer in enumerate(encoder.layers):
            rows = computed - MARGIN if index == last else None
            x = layer(x, rows, (silence[:, index, 0], silence[:, index, 1]), bias)
        return torch.bmm(weights.unsqueeze(1), encoder.layer_norm(x)).squeeze(1)


@torch.inference_mode()
def silence_table(whisper: WhisperEncoder) -> Tensor:
    """Compute the keys and values of silent windows: (levels, layers, 2, positions / STRIDE, hidden)."""
    kept: list[Tensor] = []
    thread = threading.get_ident()

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if threading.get_ident() == thread:  # others may be running the encoder
            kept.append(output[:, ::STRIDE].clone())

    projections = [
        module
        for name, module in whisper.named_modules()
        if name.endswith((".self_attn.k_proj", ".self_attn.v_proj"))
    ]
    hooks = [projection.register_forward_hook(keep) for projection in projections]
    try:
        window = (whisper.config.num_mel_bins, 2 * whisper.config.max_source_positions)
        whisper(torch.stack([torch.full(window, level) for level in LEVELS]))
    finally:
        for hook in hooks:
            hook.remove()
    levels, positions, hidden = kept[0].shape
    return torch.stack(kept, 1).view(levels, -1, 2, positions, hidden)


def silence_after(table: Tensor, frames: int, levels: Tensor) -> Tensor:
    """Interpolate the silence that follows clips of ``frames`` frames.

    Parameters
    ----------
    table
        From `silence_table`.
    frames
        Frames of the clips; the margin comes on top.
    levels
        (batch,) log-mel value of each clip's silence.

    Returns
    -------
    Tensor
        (batch, layers, 2, extra, hidden).
    """
    known = torch.tensor(LEVELS)
    after = torch.searchsorted(known, levels.contiguous()).clamp(1, len(LEVELS) - 1)
    share = (levels - known[after - 1]) / (known[after] - known[after - 1])
    rest = table[:, :, :, -(-(frames + MARGIN) // STRIDE) :]
    return torch.lerp(rest[after - 1], rest[after], share.view(-1, 1, 1, 1, 1))
