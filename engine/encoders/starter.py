"""Answer a process's short calls in NumPy until what runs the model for good is worth getting ready.

Importing torch, or reading and compiling a graph, takes over a second and, on a busy machine, many: a program
that asks a few questions never earns that back, and one that goes on asking should not have a question wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.bert_numpy import NumpyBert
from aios_db.engine.backends.blas import single_threaded
from aios_db.engine.backends.protocol import Arrays

log = logging.getLogger("aios_db.engine")

STARTER_TOKENS = 512
"""In a call; of more, torch computes enough faster to be waited for."""
WORTH_S = 1.0
"""Of processor time spent in NumPy; then the session is prepared, in a thread, which takes about as long."""


class Starter:
    """The short calls of a process; safe to use from several threads.

    Parameters
    ----------
    model
        The model in NumPy.
    prepare
        Makes the session ready; called in a thread, at most once.
    """

    def __init__(self, model: NumpyBert, prepare: Callable[[], None]) -> None:
        self._model, self._prepare = model, prepare
        self._lock = threading.Lock()
        self._spent = 0.0
        self._thread: threading.Thread | None = None
        self._is_over = False

    def takes(self, batches: Sequence[Arrays]) -> bool:
        """Whether this answers the call: it is short, and the session is not ready."""
        return not self._is_over and sum(arrays[0].size for arrays in batches) <= STARTER_TOKENS

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the mean-pooled vectors of each of ``batches``."""
        start = time.thread_time()
        with single_threaded():  # matrices this small end before a second thread has helped
            outputs = [self._model.run(*arrays) for arrays in batches]
        with self._lock:
            self._spent += time.thread_time() - start
            if self._spent > WORTH_S and self._thread is None:
                # No daemon, as a thread of DuckDB's would have it: what runs native code as the process ends
                # aborts it.
                self._thread = threading.Thread(target=self._get_ready, name="aios_db engine", daemon=False)
                self._thread.start()
        return outputs

    def end(self) -> None:
        """Answer nothing more."""
        self._is_over = True

    def _get_ready(self) -> None:
        try:
            self._prepare()
        except Exception as error:  # a call meets it again, where somebody can be told
            log.debug("the session could not be prepared: %s", error)
        self.end()
