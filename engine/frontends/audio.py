"""Decoding of sound files: any format libsndfile reads, to one channel at the rate a model wants."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.frontends.undecodable import undecodable
from aios_db.schema.amounts import amount
from aios_db.schema.errors import DataError, MissingExtraError

MAX_SECONDS = 7200
"""Of a sound that is decoded, 64 kB each at 16 kHz."""
_BLOCK_SECONDS = 30
_BLOCK_SAMPLES = 1 << 22  # of all channels
_SILENCE = 1e-3
"""Of the loudest sample, -60 dB: what is softer at the end of a sound is silence."""


def decode_audio(data: bytes, rate: int) -> NDArray[np.float32]:
    """Decode a sound file held in memory (WAV, FLAC, Ogg, MP3, …), in blocks of 30 s.

    Parameters
    ----------
    data
        The file's bytes.
    rate
        Samples per second of the result.

    Returns
    -------
    NDArray[np.float32]
        (n,) the mean of the channels, resampled with soxr; full scale is -1 to 1.

    Raises
    ------
    DataError
        The bytes are no readable sound, hold no samples, or last longer than two hours.
    MissingExtraError
        soundfile or soxr is not installed.
    """
    try:
        import soundfile
    except ModuleNotFoundError:
        raise MissingExtraError("soundfile", "audio", "decoding audio") from None
    try:
        with soundfile.SoundFile(BytesIO(data)) as file:
            stream, blocks, frames = _Resampling(file.samplerate, rate), [], 0
            size = max(1, min(_BLOCK_SECONDS * file.samplerate, _BLOCK_SAMPLES // file.channels))
            while len(block := file.read(size, dtype="float32", always_2d=True)):
                frames += len(block)
                if frames > MAX_SECONDS * file.samplerate:
                    raise DataError(
                        f"audio lasts longer than {MAX_SECONDS} s, the most that is decoded; cut it in parts"
                    )
                blocks.append(stream(block.mean(1)))
            blocks.append(stream.end())
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise undecodable("audio", data, error) from error
    return np.concatenate(blocks)


def without_trailing_silence(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n,) samples without the silence at their end; one sample at least."""
    level = _SILENCE * max(float(samples.max(initial=0)), -float(samples.min(initial=0)))
    for end in range(len(samples), 0, -_BLOCK_SAMPLES):
        start = max(0, end - _BLOCK_SAMPLES)
        loud = np.flatnonzero(np.abs(samples[start:end]) > level)
        if len(loud):
            return samples[: start + int(loud[-1]) + 1]
    return samples[:1]


def resample(samples: NDArray[np.float32], source_rate: int, rate: int) -> NDArray[np.float32]:
    """Check one channel of sound and bring it to ``rate`` samples per second.

    Raises
    ------
    DataError
        No samples, more than one channel, a rate that is not positive, a sample that is not finite.
    MissingExtraError
        The rates differ and soxr is not installed.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1 or not samples.size:
        raise DataError(f"audio must be a non-empty row of samples, not an array of shape {samples.shape}")
    stream = _Resampling(source_rate, rate)
    return np.concatenate([stream(samples), stream.end()])


class _Resampling:
    """One channel of sound brought to another rate, block by block, as soxr does it in one go.

    Parameters
    ----------
    source_rate, rate
        Samples per second of what is given, and of the result.

    Raises
    ------
    DataError
        The rate is not positive; later, a sample that is not finite, and in the end, no samples.
    MissingExtraError
        The rates differ and soxr is not installed.
    """

    def __init__(self, source_rate: int, rate: int) -> None:
        if source_rate <= 0:
            raise DataError(f"audio has a sample rate of {source_rate}")
        self._taken = self._made = 0
        self._stream = None
        if source_rate == rate:
            return
        try:
            import soxr
        except ModuleNotFoundError:
            raise MissingExtraError(
                "soxr", "audio", f"resampling audio from {source_rate} to {rate} Hz"
            ) from None
        self._stream = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what some more samples (n,) make."""
        if not np.isfinite(samples).all():
            count = int((~np.isfinite(samples)).sum())
            raise DataError(f"audio holds {amount(count, 'sample')} of NaN or infinity")
        self._taken += len(samples)
        return self._pushed(samples, last=False)

    def end(self) -> NDArray[np.float32]:
        """Return the rest; a sound that is too short for a sample at the new rate has one of silence."""
        if not self._taken:
            raise DataError("audio must be a non-empty row of samples, not an array of shape (0,)")
        rest = self._pushed(np.empty(0, np.float32), last=True)
        return rest if self._made else np.zeros(1, np.float32)

    def _pushed(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        found = samples if self._stream is None else self._stream.resample_chunk(samples, last=last)
        self._made += len(found)
        return found
