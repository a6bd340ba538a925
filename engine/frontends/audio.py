"""Decoding of sound files: any format libsndfile reads, to one channel at the rate a model wants."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import DataError, MissingExtraError

MAX_SECONDS = 7200
"""Of a sound that is decoded, 64 kB each at 16 kHz."""
_BLOCK_SECONDS = 30
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
    except ImportError:
        raise MissingExtraError("soundfile", "audio", "decoding audio") from None
    try:
        with soundfile.SoundFile(BytesIO(data)) as file:
            source_rate = file.samplerate
            blocks = []
            while len(block := file.read(_BLOCK_SECONDS * source_rate, dtype="float32", always_2d=True)):
                blocks.append(block.mean(1))
                if len(blocks) * _BLOCK_SECONDS > MAX_SECONDS:
                    raise DataError(
                        f"audio lasts longer than {MAX_SECONDS} s, the most that is decoded; cut it in parts"
                    )
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise DataError(f"audio of {len(data)} bytes ({_head(data)}) cannot be decoded: {error}") from error
    samples = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    return resample(samples, source_rate, rate)


def without_trailing_silence(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n,) samples without the silence at their end; one sample at least."""
    level = np.abs(samples)
    loud = np.flatnonzero(level > _SILENCE * level.max(initial=0))
    return samples[: int(loud[-1]) + 1] if len(loud) else samples[:1]


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
    if source_rate <= 0:
        raise DataError(f"audio has a sample rate of {source_rate}")
    if not np.isfinite(samples).all():
        raise DataError(f"audio holds {int((~np.isfinite(samples)).sum())} samples that are NaN or infinite")
    if source_rate == rate:
        return samples
    try:
        import soxr
    except ImportError:
        raise MissingExtraError(
            "soxr", "audio", f"resampling audio from {source_rate} to {rate} Hz"
        ) from None
    resampled: NDArray[np.float32] = soxr.resample(samples, source_rate, rate)
    return resampled if resampled.size else np.zeros(1, np.float32)


def _head(data: bytes) -> str:
    return f"starts with {data[:8].hex(' ')}" if data else "empty"
