"""What SIGTERM and SIGHUP do to a command: they end it as Ctrl-C does, so that nothing half made is left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ending:
    """Hears of the signals that a supervisor, or a terminal that is closed, sends to a command.

    Attributes
    ----------
    by
        The signal that came, or None.
    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Do at these signals what Ctrl-C does at that moment, within a ``with`` block.

        A second SIGTERM ends the process at once. A signal that is ignored, as by nohup, or handled by the
        program around stays so, and where Ctrl-C is ignored or handled, all of them do.
        """
        mine = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        heard = [each for each in _SIGNALS if mine and signal.getsignal(each) is signal.SIG_DFL]
        for each in heard:
            signal.signal(each, self._end)
        try:
            yield
        finally:
            for each in heard:
                signal.signal(each, signal.SIG_DFL)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.by = signal.Signals(number)
        for each in _SIGNALS:  # a terminal that is closed says so twice
            signal.signal(each, signal.SIG_DFL if each is signal.SIGTERM else signal.SIG_IGN)
        pressed = signal.getsignal(signal.SIGINT)
        if callable(pressed):
            pressed(signal.SIGINT, frame)
