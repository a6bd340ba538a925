"""One thread for the small matrix products of a search.

A product of a few megabytes ends before a second thread has helped, and on a busy machine it waits for that
thread's turn: ten times the time. Large products (building lists, linking in bulk) keep all threads.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    import numpy as np

    _ = np.ones((2, 2)) @ np.ones((2, 2))  # the library is loaded, so that it is found
    return ThreadpoolController()


def single_threaded() -> AbstractContextManager[object]:
    """Return a context in which NumPy's matrix products use one thread."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited
