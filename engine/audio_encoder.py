"""`AudioEncoder`: a Whisper model directory that turns sounds into unit vectors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.frontends.audio import decode_audio, resample
from aios_db.engine.open_model import open_model
from aios_db.engine.unit_rows import unit_rows
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    import torch

    from aios_db.engine.architectures.whisper import WhisperEncoder

log = logging.getLogger("aios_db.engine.audio")

SAMPLE_RATE = 16_000
FRAME = 320
"""Samples of one frame of the encoder: 20 ms."""
GRID = 50
"""Clips are rounded up to as many frames, so that clips of about the same length make a batch."""
BATCH_FRAMES = 3000
MIN_CLIP_COSINE = 0.99

_ENGINE = EngineConfig()  # frozen
Sound: TypeAlias = bytes | tuple[NDArray[np.float32], int]
"""A sound file's bytes, or one channel of samples with their rate in Hz."""


@dataclass(frozen=True)
class _Window:
    """At most 30 s of one sound."""

    owner: int
    samples: NDArray[np.float32]

    @property
    def frames(self) -> int:
        return -(-self.samples.size // FRAME)


class AudioEncoder:
    """A sound encoder: log-mel front end, Whisper's encoder, the mean over the sounding frames.

    A sound longer than 30 s is cut into windows of 30 s, each counting by its length. Windows that are not
    full take time in proportion to their length (see `aios_db.engine.architectures.whisper_clip`), unless a
    test sound shows that with these weights the cosine to the padded run is not above .99. Safe to use from
    several threads.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine
        Section of the configuration.

    Attributes
    ----------
    dimension : int
        Length of the vectors.
    version : str
        ``name@`` and 12 hex digits of the SHA-256 of the weights' content.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    NotSupportedError
        The model is no Whisper encoder.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(self, model: str | Path, *, engine: EngineConfig = _ENGINE) -> None:
        self._model = open_model(model, engine, ("Whisper",))
        self._encoder = cast("WhisperEncoder", self._model.module)
        self._window_frames = self._encoder.config.max_source_positions
        self._lock = threading.Lock()
        self.version = self._model.version
        self.dimension = self._encoder.config.hidden_size

    def encode_audio(self, sounds: Sequence[Sound]) -> NDArray[np.float32]:
        """Return a float32 array (len(sounds), dimension) of unit rows, in the order of ``sounds``.

        Raises
        ------
        DataError
            A sound cannot be decoded, is empty, or holds NaN; the message names its position.
        MissingExtraError
            soundfile or soxr is not installed and needed.
        WeightsError
            The model's weights make a vector that is not finite.
        """
        windows = [window for owner, sound in enumerate(sounds) for window in self._windows(owner, sound)]
        sums = np.zeros((len(sounds), self.dimension), dtype=np.float32)
        for frames, batch in self._batches(windows):
            means = self._means(frames, [window.samples for window in batch])
            for window, mean in zip(batch, means, strict=True):
                sums[window.owner] += window.frames * mean
        return unit_rows(sums, self._model.weights.file)

    def close(self) -> None:
        """Release the weights and close the file."""
        self._model.close()

    def _windows(self, owner: int, sound: Sound) -> Iterator[_Window]:
        try:
            if isinstance(sound, bytes):
                samples = decode_audio(sound, SAMPLE_RATE)
            else:
                samples = resample(*sound, SAMPLE_RATE)
        except DataError as error:
            raise DataError(f"sound {owner}: {error}") from error
        size = self._window_frames * FRAME
        for start in range(0, samples.size, size):
            yield _Window(owner, samples[start : start + size])

    def _computed_frames(self, window: _Window) -> int:
        """Return the frames a window is computed as: its own on the grid, or those of a full window."""
        from aios_db.engine.architectures.whisper_clip import MARGIN

        frames = -(-window.frames // GRID) * GRID
        short = frames + MARGIN < self._window_frames and self._silence is not None
        return frames if short else self._window_frames

    def _batches(self, windows: Sequence[_Window]) -> Iterator[tuple[int, list[_Window]]]:
        """Yield windows that are computed as equally many frames, with that number."""
        for frames, same in groupby(sorted(windows, key=self._computed_frames), key=self._computed_frames):
            group = list(same)
            size = max(1, BATCH_FRAMES // frames)
            for start in range(0, len(group), size):
                yield frames, group[start : start + size]

    def _means(self, frames: int, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the mean state over the sound of each window, all computed as ``frames`` frames."""
        if frames == self._window_frames or self._silence is None:
            return self._full_means(windows)
        return self._clip_means(frames, windows, self._silence)

    def _full_means(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            states = self._encoder(self._mel(windows, self._window_frames))
        return _mean(states, windows)

    def _clip_means(
        self, frames: int, windows: Sequence[NDArray[np.float32]], table: torch.Tensor
    ) -> NDArray[np.float32]:
        import torch

        from aios_db.engine.architectures.whisper_clip import MARGIN, WhisperClipEncoder, silence_after

        with torch.inference_mode():
            mel = self._mel(windows, frames + MARGIN + 1)
            silence = silence_after(table, frames, mel[:, 0, -1])
            states = WhisperClipEncoder(self._encoder)(mel, silence)
        return _mean(states, windows)

    def _mel(self, windows: Sequence[NDArray[np.float32]], frames: int) -> torch.Tensor:
        import torch

        from aios_db.engine.frontends.log_mel import log_mel

        samples = np.zeros((len(windows), frames * FRAME), np.float32)
        for row, window in zip(samples, windows, strict=True):
            row[: window.size] = window
        return log_mel(torch.from_numpy(samples), self._encoder.config.num_mel_bins)

    @cached_property
    def _silence(self) -> torch.Tensor | None:
        """What clips hear after their end; None when that does not stand for it well enough."""
        from aios_db.engine.architectures.whisper_clip import silence_table

        with self._lock:
            table = silence_table(self._encoder)
            clip = [_test_sound()]
            frames = -(-clip[0].size // FRAME // GRID) * GRID
            whole, short = self._full_means(clip)[0], self._clip_means(frames, clip, table)[0]
        cosine = float(whole @ short / np.linalg.norm(whole) / np.linalg.norm(short))
        if cosine > MIN_CLIP_COSINE:
            return table
        log.warning(
            "%s: short sounds are padded to full windows, since their cosine without it is %.4f",
            self.version, cosine, extra={"model": self.version, "cosine": cosine},
        )  # fmt: skip
        return None


def _mean(states: torch.Tensor, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Average (batch, frames, hidden) over the frames that hold sound."""
    rows: NDArray[np.float32] = states.float().numpy()
    return np.stack(
        [state[: -(-window.size // FRAME)].mean(0) for state, window in zip(rows, windows, strict=True)]
    )


def _test_sound() -> NDArray[np.float32]:
    """Make a second of something like speech: a wavering pitch with overtones, in four syllables."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 1.3 * time)) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)) ** 2
    noise = np.random.default_rng(0).normal(0, 0.003, time.size)
    return (0.1 * voice * syllables + noise).astype(np.float32)
