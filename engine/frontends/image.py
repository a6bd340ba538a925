"""Decoding and preparation of pictures for CLIP, as transformers' CLIPImageProcessor does with Pillow."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
MAX_ASPECT = 100


def load_pixels(data: bytes, size: int = 224) -> NDArray[np.float32]:
    """Decode a picture held in memory and prepare it for a CLIP image encoder.

    RGB, what is transparent on white; the shorter side resized to ``size`` (bicubic); the centre cut out;
    scaled to [0, 1]; normalised by CLIP's channel means and deviations. Orientation tags are not applied, as
    CLIP's own pipeline does not.

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
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("pillow", "image", "decoding images") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data)) as file:
                picture = _opaque(file)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"image of {len(data)} bytes is too large to decode: {error}") from error
    except Exception as error:  # what a decoder raises for a malformed file depends on the format
        head = f"starts with {data[:8].hex(' ')}" if data else "empty"
        raise DataError(f"image of {len(data)} bytes ({head}) cannot be decoded: {error}") from error
    width, height = picture.size
    shorter = min(width, height)
    if max(width, height) > MAX_ASPECT * shorter:
        raise DataError(f"image of {width} x {height} pixels is narrower than 1 to {MAX_ASPECT}")
    picture = picture.resize(
        (size * width // shorter, size * height // shorter), resample=Image.Resampling.BICUBIC
    )
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    picture = picture.crop((left, top, left + size, top + size))
    pixels = np.asarray(picture, dtype=np.float32) * np.float32(1 / 255)
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1))


def _opaque(picture: Image) -> Image:
    from PIL import Image

    if "A" not in picture.getbands() and picture.info.get("transparency") is None:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
