"""`AudioEncoder`: a Whisper model directory that turns sounds into unit vectors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.kinds import AUDIO
from aios_db.engine.backends.protocol import Arrays
from aios_db.engine.backends.session import Session
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.catalog.open_model import open_model
from aios_db.engine.encoders.encoder import Encoder
from aios_db.engine.encoders.sample_media import sample_sound
from aios_db.engine.encoders.unit_rows import unit_rows
from aios_db.engine.frontends.audio import decode_audio, resample, without_trailing_silence
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, EngineConfig, ValidationConfig
from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from aios_db.engine.architectures.whisper import WhisperEncoder

log = logging.getLogger("aios_db.engine.audio")

SAMPLE_RATE = 16_000
FRAME = 320
"""Samples of one frame of the encoder: 20 ms."""
GRID = 50
"""Clips are rounded up to as many frames, so that clips of about the same length make a batch."""
BATCH_FRAMES = 3000
DEVICE_BATCH_FRAMES = 24000
MIN_CLIP_COSINE = 0.99

SILENCE = 100
"""Frames of silence behind a clip whose states are taken: chosen on speakers that were held out."""
MOST_WINDOWS = 10
"""Of a sound whose features are taken."""
RUN = 64
"""Windows given to a back end at a time."""
BULK = 32

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


class AudioEncoder(Encoder):
    """A sound encoder: log-mel front end, Whisper's encoder, the mean over the sounding frames.

    A sound longer than 30 s is cut into windows of 30 s, each counting by its length. Windows that are not
    full take time in proportion to their length (see `aios_db.engine.architectures.whisper_clip`), unless a
    test sound shows that with these weights the cosine to the padded run is not above .99. Safe to use from
    several threads.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine, cpu, device, validation
        Sections of the configuration.

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
    ValidationError
        The model is quantized and has no validation report that lets it be used.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(
        self,
        model: str | Path | Candidate,
        *,
        engine: EngineConfig = DEFAULTS.engine,
        cpu: CpuConfig = DEFAULTS.cpu,
        device: DeviceConfig = DEFAULTS.device,
        validation: ValidationConfig = DEFAULTS.validation,
    ) -> None:
        opened = open_model(model, engine, AUDIO, cpu=cpu, device=device, validation=validation)
        self._encoder = cast("WhisperEncoder", opened.module)
        sizes = self._encoder.config
        self._window_frames = sizes.max_source_positions
        self._lock = threading.Lock()
        self._table: torch.Tensor | None = None
        self.dimension = sizes.hidden_size
        full = replace(
            opened.program(
                ((-1, sizes.num_mel_bins, 2 * self._window_frames), (-1, self._window_frames)),
                lambda: [self._full_inputs([_sample(seed)]) for seed in range(2, 10)],
                lambda: [self._full_inputs([_sample(seed)]) for seed in range(2)],
                BULK,
                quantizable=False,
            ),
            module=self._full_module,
        )
        clip = replace(
            full,
            name=f"{opened.version}#clip",
            module=self._clip_module,
            shapes=(
                (-1, sizes.num_mel_bins, -1),
                (-1, sizes.num_layers, 2, -1, sizes.hidden_size),
                (-1, -1),
            ),
            calibration=lambda: [self._clip_inputs(GRID, [_sample(seed)]) for seed in range(2, 10)],
            check=lambda: [self._clip_inputs(GRID, [_sample(seed)]) for seed in range(2)],
        )
        states = replace(
            full,
            name=f"{opened.version}#states-{SILENCE}",
            module=self._states_module,
            shapes=((-1, sizes.num_mel_bins, -1),),
            calibration=lambda: [self._alone(_sample(seed)) for seed in range(2, 10)],
            check=lambda: [self._alone(_sample(seed)) for seed in range(2)],
        )
        self._full, self._clip = Session(full, opened.cpu, device), Session(clip, opened.cpu, device)
        # In one arithmetic on every machine: features are compared with those that were stored elsewhere.
        exact = replace(opened.cpu, backend="standard", precision="fp32")
        self._states = Session(states, exact, device)
        super().__init__(opened, self._full, self._clip, self._states)

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
        for start in range(0, len(windows), RUN):
            for window, mean in self._means(windows[start : start + RUN]):
                sums[window.owner] += window.frames * mean
        return unit_rows(sums, self._model.file)

    def encode_states(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the states over a sound's own frames of 20 ms.

        Silence at the end changes nothing. Of a sound longer than 280 s, ten windows of 28 s are looked at
        that lie evenly over it.

        Parameters
        ----------
        samples
            (n,) float32 at 16 kHz, one at least.

        Returns
        -------
        NDArray[np.float32]
            (frames, dimension).
        """
        sound, size = without_trailing_silence(samples), self.window_samples - SILENCE * FRAME
        starts = np.arange(0, len(sound), size)
        if len(starts) > MOST_WINDOWS:
            starts = np.linspace(0, len(sound) - size, MOST_WINDOWS).astype(np.int64)
        windows = [sound[start : start + size] for start in starts.tolist()]
        return np.concatenate([self._states.run([self._alone(window)])[0][0] for window in windows])

    @property
    def window_samples(self) -> int:
        """Samples of a full window, at 16 kHz."""
        return self._window_frames * FRAME

    def _windows(self, owner: int, sound: Sound) -> Iterator[_Window]:
        try:
            if isinstance(sound, bytes):
                samples = decode_audio(sound, SAMPLE_RATE)
            else:
                samples = resample(*sound, SAMPLE_RATE)
        except DataError as error:
            raise DataError(f"sound {owner}: {error}") from error
        size = self.window_samples
        for start in range(0, samples.size, size):
            yield _Window(owner, samples[start : start + size])

    def _computed_frames(self, window: _Window) -> int:
        """Return the frames a window is computed as: its own on the grid, or those of a full window."""
        from aios_db.engine.architectures.whisper_clip import MARGIN

        frames = -(-window.frames // GRID) * GRID
        short = frames + MARGIN < self._window_frames and self._clips_are_close
        return frames if short else self._window_frames

    def _means(self, windows: Sequence[_Window]) -> Iterator[tuple[_Window, NDArray[np.float32]]]:
        """Yield each window with the mean of the states over its sound."""
        batches = list(self._batches(windows))
        full = [batch for frames, batch in batches if frames == self._window_frames]
        short = [(frames, batch) for frames, batch in batches if frames < self._window_frames]
        inputs = [self._full_inputs([window.samples for window in batch]) for batch in full]
        for batch, means in zip(full, self._full.run(inputs), strict=True):
            yield from zip(batch, means, strict=True)
        inputs = [self._clip_inputs(frames, [window.samples for window in batch]) for frames, batch in short]
        for (_, batch), means in zip(short, self._clip.run(inputs), strict=True):
            yield from zip(batch, means, strict=True)

    def _batches(self, windows: Sequence[_Window]) -> Iterator[tuple[int, list[_Window]]]:
        """Yield windows that are computed as equally many frames, with that number."""
        for frames, same in groupby(sorted(windows, key=self._computed_frames), key=self._computed_frames):
            group = list(same)
            most = BATCH_FRAMES if self._full.is_on_cpu else DEVICE_BATCH_FRAMES
            size = max(1, most // frames)
            for start in range(0, len(group), size):
                yield frames, group[start : start + size]

    def _full_module(self) -> nn.Module:
        from aios_db.engine.architectures.whisper import WhisperMean

        return WhisperMean(self._encoder).eval()

    def _clip_module(self) -> nn.Module:
        from aios_db.engine.architectures.whisper_clip import WhisperClipMean

        return WhisperClipMean(self._encoder).eval()

    def _states_module(self) -> nn.Module:
        from aios_db.engine.architectures.whisper import WhisperStates

        return WhisperStates(self._encoder, SILENCE).eval()

    def _alone(self, window: NDArray[np.float32]) -> Arrays:
        """Return the input of a clip alone: as many frames as it has, and the silence behind it."""
        return (self._mel([window], max(1, -(-window.size // FRAME)) + SILENCE).numpy(),)

    def _full_inputs(self, windows: Sequence[NDArray[np.float32]]) -> Arrays:
        return self._mel(windows, self._window_frames).numpy(), _weights(windows, self._window_frames)

    def _clip_inputs(self, frames: int, windows: Sequence[NDArray[np.float32]]) -> Arrays:
        from aios_db.engine.architectures.whisper_clip import MARGIN, silence_after

        mel = self._mel(windows, frames + MARGIN + 1)
        silence = silence_after(self._silence_table, frames, mel[:, 0, -1])
        return mel.numpy(), silence.numpy(), _weights(windows, frames)

    def _mel(self, windows: Sequence[NDArray[np.float32]], frames: int) -> torch.Tensor:
        import torch

        from aios_db.engine.frontends.log_mel import log_mel

        samples = np.zeros((len(windows), frames * FRAME), np.float32)
        for row, window in zip(samples, windows, strict=True):
            row[: window.size] = window
        return log_mel(torch.from_numpy(samples), self._encoder.config.num_mel_bins)

    @property
    def _silence_table(self) -> torch.Tensor:
        from aios_db.engine.architectures.whisper_clip import silence_table

        with self._lock:
            if self._table is None:
                self._table = silence_table(self._encoder)
            return self._table

    @cached_property
    def _clips_are_close(self) -> bool:
        """Whether a short sound's vector keeps its cosine to that of the padded window."""
        sound = [_sample(0)]
        (whole,) = self._full.run([self._full_inputs(sound)])[0]
        (short,) = self._clip.run([self._clip_inputs(GRID, sound)])[0]
        cosine = float(whole @ short / np.linalg.norm(whole) / np.linalg.norm(short))
        if not cosine > MIN_CLIP_COSINE:
            log.warning(
                "%s: short sounds are padded to full windows, since their cosine without it is %.4f",
                self.version, cosine, extra={"model": self.version, "cosine": cosine},
            )  # fmt: skip
        return cosine > MIN_CLIP_COSINE


def _weights(windows: Sequence[NDArray[np.float32]], frames: int) -> NDArray[np.float32]:
    """Return (windows, frames) weights that average over the frames that hold sound."""
    counts = np.array([[-(-window.size // FRAME)] for window in windows], dtype=np.float32)
    weights: NDArray[np.float32] = (np.arange(frames) < counts).astype(np.float32) / counts
    return weights


def _sample(seed: int) -> NDArray[np.float32]:
    return sample_sound(seed, GRID * FRAME / SAMPLE_RATE, SAMPLE_RATE)
