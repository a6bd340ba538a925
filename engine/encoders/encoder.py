"""What all encoders share: an open model and the sessions that run it."""

from __future__ import annotations

from collections import Counter

from aios_db.engine.backends.devices import Device
from aios_db.engine.backends.selection import Choice
from aios_db.engine.backends.session import Session
from aios_db.engine.backends.vram import VramReport, by_model
from aios_db.engine.catalog.open_model import OpenModel
from aios_db.engine.weights.memory import MemoryReport

WRAPPER = "whisper."
"""Before the names of a model's parameters in the modules that pool its states."""


class Encoder:
    """An encoder of texts, sounds or pictures; its first session is the one that is asked about itself.

    Attributes
    ----------
    version : str
        ``name@`` and 12 hex digits of the SHA-256 of the weights' content.
    """

    def __init__(self, model: OpenModel, *sessions: Session) -> None:
        self._model = model
        self._sessions = sessions
        self.version = model.version

    @property
    def choice(self) -> Choice | None:
        """The CPU back end and precision in use, with what was measured; None before the choice."""
        return self._sessions[0].choice

    @property
    def remembered(self) -> Choice | None:
        """The choice in use, or that which this machine remembers for the model."""
        return self._sessions[0].remembered

    def tune(self) -> Choice:
        """Measure the CPU back ends now and use the fastest that is precise; the choice is remembered.

        Takes tens of seconds. Without it, the first bulk call does this.
        """
        choices = [session.tune() for session in self._sessions]
        return choices[0]

    def settle(self) -> None:
        """Get ready to answer: load the weights and, on the CPU, choose what runs them where that is due.

        A choice that this machine remembers is taken; otherwise the candidates are measured, which takes
        tens of seconds. Without it, a bulk call does this, or some call when the standard back end has taken
        as long as that.
        """
        for session in self._sessions:
            session.settle()

    @property
    def arithmetic(self) -> str:
        """Device, back end and precision of the answers, like ``cpu openvino/int8`` or ``cuda``.

        ``cpu standard/integers`` is that of a quantized model that computes from its integers.
        """
        session = self._sessions[0]
        if not session.is_on_cpu:
            return self.device.target
        choice = session.choice
        if choice is None or self._model.integers:
            return f"{self.device.target} standard/{'integers' if self._model.integers else 'fp32'}"
        return f"{self.device.target} {choice.backend}/{choice.precision}"

    @property
    def device(self) -> Device:
        """Where calls start; the CPU finishes them when it fails."""
        return self._sessions[0].device

    def vram(self) -> VramReport:
        """Return the memory of the device that calls start on and what the model takes of it.

        All 0 on a CPU. The model has none on a device before its first call.
        """
        return by_model(session.vram() for session in self._sessions)[0]

    def memory_report(self) -> MemoryReport:
        """Return where the weights are: mapped, resident, copied or on a device, by tensor and in total."""
        device: Counter[str] = Counter()
        for session in self._sessions:
            device.update({name.removeprefix(WRAPPER): n for name, n in session.device_bytes().items()})
        return self._model.weights.memory_report(device)

    def release(self) -> None:
        """Let go of the weights' memory; the next use brings it back."""
        self._model.release()

    def close(self) -> None:
        """Release the weights and close the file."""
        for session in self._sessions:
            session.close()
        self._model.close()
