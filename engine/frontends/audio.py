"""Decoding of sound files: any format libsndfile reads, to one channel at the rate a model wants."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import DataError, MissingExtraError


def decode_audio(data: bytes, rate: int) -> NDArray[np.float32]:
    """Decode a sound file held in memory (WAV, FLAC, Ogg, MP3, …).

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
        The bytes are no readable sound, or hold no samples.
    MissingExtraError
        soundfile or soxr is not installed.
    """
    try:
        import soundfile
    except ImportError:
        raise MissingExtraError("soundfile", "audio", "decoding audio") from None
    try:
        samples, source_rate = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise DataError(f"audio of {len(data)} bytes ({_head(data)}) cannot be decoded: {error}") from error
    return resample(samples.mean(1), source_rate, rate)


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
