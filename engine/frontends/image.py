"""Decoding and preparation of pictures for CLIP, as transformers' CLIPImageProcessor does with Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.frontends.views import open_picture

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


def load_pixels(data: bytes, size: int = 224) -> NDArray[np.float32]:
    """Decode a picture held in memory and prepare it for a CLIP image encoder.

    RGB, what is transparent on white; the shorter side resized to ``size`` (bicubic); the centre cut out;
    scaled to [0, 1]; normalised by CLIP's channel means and deviations. Orientation tags are applied, which
    CLIP's own pipeline leaves to its caller.

    Parameters
    ----------
    data
        The file's bytes, in any format Pillow reads; of an animation, the first frame.
    size
        Pixels of a side of the result.

    Returns
    -------
    NDArray[np.float32]
        (3, size, size).

    Raises
    ------
    DataError
        The bytes are no readable picture, or one too large or too narrow to be decoded safely.
    MissingExtraError
        Pillow is not installed.
    """
    picture = open_picture(data, size)
    from PIL import Image

    width, height = picture.size
    shorter = min(width, height)
    picture = picture.resize(
        (size * width // shorter, size * height // shorter), resample=Image.Resampling.BICUBIC
    )
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    picture = picture.crop((left, top, left + size, top + size))
    return normalised(np.asarray(picture))


def normalised(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return an RGB picture (size, size, 3) as CLIP takes it: (3, size, size)."""
    pixels = picture.astype(np.float32) * np.float32(1 / 255)
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1))
