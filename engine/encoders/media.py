"""Embed columns of media files, as the SQL functions do: equal files once, nothing for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[Sequence[bytes]], NDArray[np.float32]]
"""`AudioEncoder.encode_audio` or `ImageEncoder.encode_image`."""


def embed_files(encode: Encode, files: Sequence[bytes | None]) -> list[NDArray[np.float32] | None]:
    """Return a unit vector (dimension,) for each file, and None for None.

    Raises
    ------
    DataError
        A file cannot be decoded; the message says what is wrong with it.
    """
    distinct = list(dict.fromkeys(file for file in files if file is not None))
    vectors = dict(zip(distinct, encode(distinct) if distinct else (), strict=True))
    return [None if file is None else vectors[file] for file in files]
