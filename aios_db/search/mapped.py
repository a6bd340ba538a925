"""Arrays in memory that is mapped for them alone, and that the system has back as soon as they go.

A segment is replaced by the next, which is as large. In a heap of the C library the old one leaves a hole
that small blocks are put into, or an end that stays resident, and which of the two is chance.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

_LEAST = 1 << 16  # bytes worth a mapping of their own
_HUGE = 1 << 22  # from here on in huge pages, as NumPy asks for them


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> NDArray[Any]:
    """Return an array of ``shape``: zeros where it is large, and of any values where it is small."""
    of = np.dtype(dtype)
    size = math.prod(shape) * of.itemsize
    if size < _LEAST or not hasattr(mmap, "MAP_PRIVATE"):  # Windows gives large blocks back itself
        return np.empty(shape, of)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, of).reshape(shape)


def settled(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that lies as `empty` says."""
    copied = empty(array.shape, array.dtype)
    copied[...] = array
    return copied
