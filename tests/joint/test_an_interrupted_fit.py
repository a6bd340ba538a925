"""Ctrl-C ends a fit while features are made, and so does what fails."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from joint_world import COLOURS, heard, tone
from numpy.typing import NDArray

import aios_db

PAIRS = [
    {"text": f"a {colour} thing", "audio": tone(colour, seed, 0.1)}
    for seed in range(40)
    for colour in COLOURS
]


def test_encoders_stop_soon_after_ctrl_c(world: Callable[..., aios_db.Connection]) -> None:
    sounds: list[int] = []
    fitting, counting = threading.Event(), threading.Lock()

    def interrupting(given: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        if fitting.is_set():
            with counting:
                sounds.append(len(given))
                first = len(sounds) == 1
            if first:  # a second one would end the process that runs the tests
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(3)  # in which the main thread hears it, on a busy machine, too
        return heard(given)

    with world() as con:
        con.register_encoder("bands", "audio", 24, interrupting)
        fitting.set()
        with pytest.raises(KeyboardInterrupt):
            con.fit_fusion(PAIRS)
        assert 0 < sum(sounds) <= 64
        fitting.clear()
        assert con.fit_fusion(PAIRS).items == len(PAIRS)
