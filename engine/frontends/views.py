"""Pictures as arrays, and nine views of one: a small encoder sees more in the parts of a scene."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.frontends.undecodable import undecodable
from aios_db.schema.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_ASPECT = 100
MAX_PIXELS = 89_000_000
"""Of a picture that is decoded, 3 bytes each; a JPEG is decoded at a fraction of its size."""
LARGE_PIXELS = 20_000_000
VIEWS = 9
_PART = 0.7  # of the shorter side


def open_picture(data: bytes, size: int) -> Image:
    """Decode a picture: RGB, upright by its orientation tag, what is transparent on white.

    Parameters
    ----------
    data
        The file's bytes, in any format Pillow reads; of an animation, the first frame.
    size
        Pixels of a side that are wanted of it: a JPEG is decoded no larger than that needs.

    Raises
    ------
    DataError
        The bytes are no readable picture, or one too large or too narrow to be decoded safely.
    MissingExtraError
        Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise MissingExtraError("pillow", "image", "decoding images") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data)) as file:
                width, height = file.size
                file.draft("RGB", (4 * size, 4 * size))
                if file.width * file.height > MAX_PIXELS:
                    raise DataError(
                        f"image of {width} x {height} pixels is too large to decode: the most is "
                        f"{MAX_PIXELS / 1e6:g} million pixels; scale it down"
                    )
                picture = _opaque(ImageOps.exif_transpose(_reduced(_in_bytes(file), size)))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"image of {len(data)} bytes is too large to decode: {error}") from error
    except Exception as error:  # what a decoder raises for a malformed file depends on the format
        raise undecodable("image", data, error) from error
    width, height = picture.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(f"image of {width} x {height} pixels is narrower than 1 to {MAX_ASPECT}")
    return picture


def nine_views(data: bytes, size: int) -> NDArray[np.uint8]:
    """Return views of a picture: all of it, its centre, both ends, its corners, and the centre mirrored.

    Parameters
    ----------
    data, size
        As for `open_picture`.

    Returns
    -------
    NDArray[np.uint8]
        (9, size, size, 3), RGB.
    """
    from PIL import Image

    picture = open_picture(data, size)
    width, height = picture.size
    side = min(width, height)
    part = max(1, round(_PART * side))
    right, below = width - part, height - part
    boxes = [
        (0, 0, width, height),
        _square((width - side) // 2, (height - side) // 2, side),
        _square(0, 0, side),
        _square(width - side, height - side, side),
        *(_square(x, y, part) for x in (0, right) for y in (0, below)),
    ]
    views = [
        np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box), dtype=np.uint8)
        for box in boxes
    ]
    return np.stack([*views, views[1][:, ::-1]])


def _square(left: int, top: int, side: int) -> tuple[int, int, int, int]:
    return left, top, left + side, top + side


def _reduced(picture: Image, size: int) -> Image:
    """Return a picture of more pixels than need be kept several times over at a fraction of its size."""
    factor = min(picture.size) // (4 * size)
    if picture.width * picture.height < LARGE_PIXELS or factor < 2 or picture.mode in ("P", "1"):
        return picture
    return _as_tagged(picture.reduce(factor), picture)


def _as_tagged(made: Image, picture: Image) -> Image:
    """Return what was made of a picture, with its orientation tag."""
    made.info["exif"] = picture.getexif().tobytes()
    return made


def _in_bytes(picture: Image) -> Image:
    """Return a grey picture of more than 8 bits a pixel with 8, which Pillow would cut off at 255.

    Of 16 bits the upper 8 are kept; what has 32, or is in fractions, is spread from its darkest to its
    brightest.
    """
    if not picture.mode.startswith(("I", "F")):
        return picture
    from PIL import Image

    if picture.mode.startswith("I;16"):
        upper = (np.asarray(picture) >> 8).astype(np.uint8)
        return _as_tagged(Image.fromarray(upper), picture)
    grey = np.asarray(picture, np.float32)
    known = grey[np.isfinite(grey)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    if picture.mode == "I" and low >= 0 and high <= 65_535:  # as Pillow opens some of 16 bits
        low, high = 0.0, 65_535.0 if high > 255 else 255.0
    elif picture.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    spread = (np.nan_to_num(grey, nan=low, posinf=high, neginf=low) - low) / ((high - low) or 1.0)
    return _as_tagged(Image.fromarray((spread * 255).clip(0, 255).astype(np.uint8)), picture)


def _opaque(picture: Image) -> Image:
    from PIL import Image

    if "A" not in picture.getbands() and picture.info.get("transparency") is None:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
