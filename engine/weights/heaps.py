"""What the C library keeps of freed memory (glibc): in how many heaps, how much, and until when.

Another library decides itself, and so does a process that was started with a setting of its own
(``GLIBC_TUNABLES``, ``MALLOC_ARENA_MAX``, ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_CUT_SHORT = 1 << 20
_IN_HEAPS, _KEPT = 32 << 20, 64 << 20  # where glibc's own rule ends: as many bytes as may be, and twice that


def give_back_freed() -> None:
    """Return what Arrow and the C library keep of freed memory to the system, where they can.

    Of all heaps but the first the C library leaves the end as it is, see `cut_short`.
    """
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def limit_arenas(most: int) -> None:
    """Let the C library spread what is allocated from now on over ``most`` heaps, where it can.

    Left to itself it takes 8 for each core, and what threads free in one is of no use to another. 0 changes
    nothing.
    """
    if most and not {"MALLOC_ARENA_MAX", "GLIBC_TUNABLES"} & os.environ.keys():
        _set(_M_ARENA_MAX, most)


@contextmanager
def cut_short() -> Iterator[None]:
    """Let go of what is freed at the end of any heap while this lasts, where that can be set.

    Left to itself the C library keeps twice the largest block there that was ever freed, in each heap: after
    a copy of the index tens of megabytes, for calls that need a few. Afterwards such ends are kept again,
    since calls that need them would fetch them from the system each time.
    """
    own = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
    # Setting one of the two ends glibc's own rule for both.
    is_set = not own and _set(_M_MMAP_THRESHOLD, _IN_HEAPS) and _set(_M_TRIM_THRESHOLD, _CUT_SHORT)
    try:
        yield
    finally:
        if is_set:
            _set(_M_TRIM_THRESHOLD, _KEPT)


def _set(option: int, value: int) -> bool:
    """Set an option of glibc's malloc; return whether it is set."""
    with suppress(AttributeError, OSError, TypeError):
        return bool(ctypes.CDLL(None).mallopt(option, value))
    return False
