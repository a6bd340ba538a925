"""The exact difference of two arrays of floats, small where they are near each other.

Floats in the order of their size are integers: the bits of a positive float, read as an integer, grow with
it. The differences of these integers are small where a number moved by little, so that their upper bytes are
mostly zero; put together by place (all first bytes, all second …) they compress well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aios_db.federation.card import Array
from aios_db.schema.errors import DataError

_UNSIGNED = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def difference(old: Array, new: Array) -> bytes:
    """Return what `changed` makes ``new`` of ``old`` with, as many bytes as ``new`` has."""
    moved = _ordered(new) - _ordered(old)  # modulo 2^bits
    # Small negative numbers become small as well: 0, -1, 1, -2, … are 0, 1, 2, 3, ….
    one, last = moved.dtype.type(1), moved.dtype.type(8 * moved.dtype.itemsize - 1)
    folded = (moved << one) ^ (np.zeros_like(moved) - (moved >> last))
    planes = folded.astype(folded.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, folded.dtype.itemsize)
    content: bytes = planes.T.tobytes()
    return content


def changed(old: Array, moved: bytes) -> Array:
    """Return the array that `difference` was made for.

    Raises
    ------
    DataError
        ``moved`` has not as many bytes as ``old``.
    """
    if len(moved) != old.nbytes:
        raise DataError(f"a difference of {len(moved)} bytes is not of an array of {old.nbytes}")
    planes = np.frombuffer(moved, np.uint8).reshape(old.dtype.itemsize, -1)
    unsigned = np.dtype(_UNSIGNED[old.dtype.itemsize])
    folded = np.ascontiguousarray(planes.T).view(unsigned.newbyteorder("<")).ravel().astype(unsigned)
    one = unsigned.type(1)
    difference = (folded >> one) ^ (np.zeros_like(folded) - (folded & one))
    bits = _ordered(old) + difference
    top = one << unsigned.type(8 * unsigned.itemsize - 1)
    raw = np.where(bits & top, bits ^ top, ~bits)
    array: Array = raw.astype(unsigned).view(old.dtype).reshape(old.shape)
    return array


def _ordered(array: Array) -> NDArray[np.unsignedinteger]:
    """Return the bits of floats as integers in the floats' order: of negative ones all are turned over."""
    unsigned = np.dtype(_UNSIGNED[array.dtype.itemsize])
    bits = np.ascontiguousarray(array).view(unsigned).ravel()
    top = unsigned.type(1) << unsigned.type(8 * unsigned.itemsize - 1)
    return np.where(bits & top, ~bits, bits | top).astype(unsigned)
