"""Pictures and sounds in the forms in which Python has them, brought to the bytes of a file, or its path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from io import BytesIO
from os import PathLike, fspath
from typing import Any

from aios_db.schema.errors import DataError, MissingExtraError

_IN_PNG = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
_HOW = {
    "image": "the bytes of a file, its path, a picture of Pillow, or an array uint8 (height, width, 3)",
    "audio": "the bytes of a file, or its path; of samples, write a WAV file first (soundfile.write)",
}


def as_file(given: Any, name: str) -> bytes | str | None:
    """Return a picture or a sound as the bytes of a file, or as the text of a path or URI; None for None.

    A picture of Pillow, and an array of pixels, becomes a PNG file; a ``data:`` URI and an open file are
    read. Of a mapping with ``bytes`` and ``path``, as the data sets of Hugging Face have, the bytes count
    where there are any, else the path.

    Parameters
    ----------
    name
        ``image`` or ``audio``.

    Raises
    ------
    DataError
        It is empty, or something else.
    MissingExtraError
        It is an array, and Pillow is not installed.
    """
    if isinstance(given, Mapping) and not {"bytes", "path"}.isdisjoint(given):
        content = given.get("bytes")
        given = given.get("path") if content is None else content
    if given is None:
        return None
    if isinstance(given, bytes | bytearray | memoryview):
        found: bytes | str = bytes(given)
    elif isinstance(given, str | PathLike):
        found = _read(fspath(given), name)
    elif callable(getattr(given, "read", None)):
        found = given.read()
        if not isinstance(found, bytes):
            raise DataError(f"{name} is a file that is open for text; open it for bytes, with mode 'rb'")
    elif name == "image" and hasattr(given, "getbands"):
        found = _png(given)
    elif name == "image" and hasattr(given, "__array_interface__"):
        found = _of_pixels(given)
    else:
        raise DataError(f"{name} is a {type(given).__name__}; give {_HOW[name]}")
    if not found or (isinstance(found, str) and not found.strip()):
        raise DataError(f"{name} is empty; give {_HOW[name]}, or leave it out")
    return found


def _read(given: Any, name: str) -> bytes | str:
    """Return a path or URI as a text, and what a ``data:`` URI holds as bytes."""
    if isinstance(given, bytes):
        return given.decode("utf-8", "surrogateescape")
    head, comma, content = given.partition(",")
    if not (comma and given[:5].lower() == "data:" and head.lower().endswith(";base64")):
        return str(given)
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{name} is a data: URI that cannot be read: {error}") from error


def _png(picture: Any) -> bytes:
    """Return a picture of Pillow as a PNG file, upright."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(picture)
    buffer = BytesIO()
    if picture.mode in ("F", "I"):
        picture.save(buffer, "TIFF")
    else:
        (picture if picture.mode in _IN_PNG else picture.convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


def _of_pixels(array: Any) -> bytes:
    import numpy as np

    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingExtraError("pillow", "image", "reading an array as a picture") from None
    pixels = np.asarray(array)
    grey_or_coloured = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not grey_or_coloured or not pixels.size:
        shape = "x".join(map(str, pixels.shape))
        raise DataError(
            f"image is an array of {pixels.dtype} {shape}; give uint8 (height, width, 3) in RGB, "
            "(height, width, 4) or (height, width)"
        )
    return _png(Image.fromarray(np.ascontiguousarray(pixels)))
