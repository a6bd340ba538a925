"""Which pages of a mapping are in memory, and giving them back."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np

PAGE = mmap.PAGESIZE
_PAGEMAP = Path("/proc/self/pagemap")
_PRESENT = np.uint64(1 << 63)


def resident_bytes(address: int, length: int) -> int:
    """Return how many of ``length`` bytes at ``address`` this process has in memory.

    Read from ``/proc/self/pagemap``; where there is none, from `cached_bytes`.
    """
    if not length:
        return 0
    first, last = address // PAGE, -(-(address + length) // PAGE)
    try:
        with _PAGEMAP.open("rb", buffering=0) as file:
            file.seek(first * 8)
            entries = np.frombuffer(file.read((last - first) * 8), dtype=np.uint64)
    except OSError:
        return cached_bytes(address, length)
    return _bytes((entries & _PRESENT) != 0, address, length)


def cached_bytes(address: int, length: int) -> int:
    """Return how many of ``length`` mapped bytes are in the page cache, whichever process brought them there.

    By ``mincore``; ``length`` on systems without it.
    """
    if not length:
        return 0
    start = address // PAGE * PAGE
    pages = -(-(address + length - start) // PAGE)
    vector = np.zeros(pages, dtype=np.uint8)
    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
    except (AttributeError, OSError, TypeError):
        return length
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    if mincore(start, pages * PAGE, vector.ctypes.data):
        return 0
    return _bytes((vector & 1) != 0, address, length)


def release(mapping: mmap.mmap, offset: int, length: int) -> None:
    """Give back the pages that lie wholly in this part of ``mapping``; use reads them again."""
    start, end = -(-offset // PAGE) * PAGE, (offset + length) // PAGE * PAGE
    if end > start and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED, start, end - start)


def _bytes(present: np.typing.NDArray[np.bool_], address: int, length: int) -> int:
    """Return the bytes of the present pages that lie between ``address`` and ``address + length``."""
    starts = (address // PAGE + np.arange(present.size, dtype=np.int64)) * PAGE
    parts = np.minimum(starts + PAGE, address + length) - np.maximum(starts, address)
    return int(parts[present].sum())
