"""Choose the CPU back end and precision of a model: measured once a machine and model, remembered as JSON.

When the choice is made matters as much as how. Converting, quantizing and timing takes tens of seconds, so
with ``cpu.backend: auto`` a call pays for it only when it is a bulk one, or when the standard back end has
already cost this process as much time as the choice would; until then the standard one answers. What is
compared is made robust to what else the machine does (`aios_db.engine.backends.timing`), and a choice made
while it was busy is looked at again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.agreement import row_failures
from aios_db.engine.backends.code import code_digest
from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.backends.protocol import Arithmetic, Program, Runner
from aios_db.engine.backends.registry import AUTOMATIC, get_backend
from aios_db.engine.backends.timing import (
    WORTH_A_WARNING,
    expected_loss,
    is_busy,
    preferred,
    processor_seconds,
)
from aios_db.engine.weights.files import atomic_write
from aios_db.schema.config import CpuConfig

log = logging.getLogger("aios_db.engine.backends")

PATIENCE_S = 20.0  # seconds spent in the standard back end after which the choice has paid for itself
PACKAGES = ("torch", "openvino", "intel_extension_for_pytorch")

STANDARD: tuple[str, Arithmetic] = ("standard", "fp32")


@dataclass(frozen=True)
class Choice:
    """The back end that runs a model, and what it was chosen from."""

    backend: str
    precision: Arithmetic
    cosine: float
    """Mean cosine to the standard back end in fp32, over the program's check inputs."""
    milliseconds: Mapping[str, float]
    """Least processor time of the check inputs for each candidate that kept the precision, by
    'backend/precision'."""
    provisional: bool = False
    """Whether the machine was busy when it was made: it is looked at again when that is over."""


class CpuSelection:
    """The CPU runner of one program; safe to use from several threads."""

    def __init__(self, program: Program, cpu: CpuConfig) -> None:
        self._program, self._cpu = program, cpu
        self._lock = threading.Lock()
        self._tuning = threading.Lock()
        self._standard: Runner | None = None
        self._chosen: Runner | None = None
        self._spent = 0.0
        self.choice: Choice | None = None
        """What runs the model from now on; None while that is not decided."""

    @property
    def standard(self) -> Runner:
        """The standard back end in fp32."""
        with self._lock:
            if self._standard is None:
                self._standard = get_backend("standard").prepare(self._program, "fp32", self._cpu.threads)
            return self._standard

    def runner(self, items: int) -> Runner:
        """Return what runs a call of ``items`` rows, choosing first where that is due."""
        if self._chosen is not None and not self._is_due_again(items):
            return self._chosen
        patient = self._cpu.backend == "auto" and items < self._program.bulk and self._spent < PATIENCE_S
        if patient and not self._choice_file_exists():
            return self.standard
        if not self._tuning.acquire(blocking=False):  # another thread is at it
            return self._chosen or self.standard
        try:
            chosen = self._chosen or self._adopt_remembered()
            return self.tune() if chosen is None or self._is_due_again(items) else chosen
        finally:
            self._tuning.release()

    def _is_due_again(self, items: int) -> bool:
        """Whether a bulk call finds a choice that was made under load, and the machine quiet."""
        provisional = self.choice is not None and self.choice.provisional
        return provisional and items >= self._program.bulk and not is_busy()

    def let_go(self) -> None:
        """Drop the runners and the weights that they packed, which the garbage collector comes late to."""
        with self._lock:
            self._standard = self._chosen = None

    def spent(self, seconds: float) -> None:
        """Count the time of a call that ran before the choice was made."""
        self._spent += seconds

    def fail(self, error: Exception) -> Runner:
        """Give up the chosen back end and return the standard one; raise ``error`` if it is that."""
        if self._chosen is self._standard:
            raise error
        log.warning(
            "back end %s failed, the standard one takes over: %s", self._label(), error,
            extra={"event": "backend_failed", "backend": self._label(), "model": self._program.name},
        )  # fmt: skip
        return self._settle(Choice(*STANDARD, 1.0, {}), self.standard)

    def tune(self) -> Runner:
        """Measure the candidates, remember the best, and return its runner."""
        candidates = self._candidates()
        if candidates == [STANDARD]:
            return self._settle(Choice(*STANDARD, 1.0, {}), self.standard)
        busy = is_busy()
        log.info(
            "measuring %s for %s, once on this machine",
            ", ".join(map("/".join, candidates)), self._program.name,
        )  # fmt: skip
        accepted: dict[tuple[str, Arithmetic], tuple[Runner, float]] = {}
        for candidate in candidates:
            prepared = self._prepare(*candidate)
            if prepared is not None:
                accepted[candidate] = prepared
        if not accepted:
            accepted[STANDARD] = (self.standard, 1.0)
        times = self._time({candidate: runner for candidate, (runner, _) in accepted.items()})
        best = preferred(times)
        runner, cosine = accepted[best]
        milliseconds = {"/".join(candidate): round(1e3 * seconds, 2) for candidate, seconds in times.items()}
        choice = Choice(*best, cosine, milliseconds, provisional=busy or is_busy())
        log.info(
            "%s runs on %s, cosine %.5f; milliseconds: %s",
            self._program.name, "/".join(best), cosine, milliseconds,
            extra={
                "event": "backend_chosen", "model": self._program.name, "choice": dataclasses.asdict(choice),
            },
        )  # fmt: skip
        self._remember(choice)
        return self._settle(choice, runner)

    def _candidates(self) -> list[tuple[str, Arithmetic]]:
        """Return the back ends and precisions that the configuration allows and this machine has."""
        asked = self._cpu.backend
        found: list[tuple[str, Arithmetic]] = []
        missing: list[tuple[str, str]] = []
        for name in AUTOMATIC if asked == "auto" else (asked,):
            backend = get_backend(name)
            reason = backend.missing()
            if reason is not None:
                missing.append((name, reason))
                continue
            precisions = backend.precisions(cpu_features())
            if self._cpu.precision == "auto":
                allowed = [p for p in precisions if p != "int8" or self._program.quantizable]
                found += [(name, precision) for precision in allowed]
            elif self._cpu.precision in precisions:
                found.append((name, self._cpu.precision))
            elif asked != "auto":
                log.warning(
                    "back end %s has no %s here, since the CPU or a package lacks it: fp32",
                    name, self._cpu.precision,
                    extra={"event": "precision_unavailable", "precision": self._cpu.precision},
                )  # fmt: skip
                found.append((name, "fp32"))
        if not found and self._cpu.precision not in ("auto", "fp32") and asked == "auto":
            log.warning(
                "no back end has %s here, for lack of CPU or package: fp32", self._cpu.precision,
                extra={"event": "precision_unavailable", "precision": self._cpu.precision},
            )  # fmt: skip
        self._tell_missing(missing, found or [STANDARD])
        return found or [STANDARD]

    def _tell_missing(self, missing: list[tuple[str, str]], found: list[tuple[str, Arithmetic]]) -> None:
        """Warn of back ends that are missing though asked for, or though they would be much faster."""
        for name, reason in missing:
            level, loss = logging.DEBUG, 1.0
            if self._cpu.backend != "auto":
                level = logging.WARNING
            elif self._cpu.precision == "auto":
                loss = expected_loss(name, found, cpu_features(), quantizable=self._program.quantizable)
                level = logging.WARNING if loss > WORTH_A_WARNING else logging.DEBUG
            log.log(
                level, "back end %s: %s%s", name, reason, f" ({loss:.1f} times as fast)" if loss > 1 else "",
                extra={"event": "backend_missing", "backend": name, "times_as_fast": loss},
            )  # fmt: skip

    def _prepare(self, name: str, precision: Arithmetic) -> tuple[Runner, float] | None:
        """Return the runner and its cosine to fp32, or None, with a warning, if it is unfit."""
        if (name, precision) == STANDARD:
            return self.standard, 1.0
        try:
            runner = get_backend(name).prepare(self._program, precision, self._cpu.threads)
            reference, rows = self._reference(), _rows(runner, self._program)
            cosine = mean_cosine(rows, reference)
        except Exception as error:
            if not threading.main_thread().is_alive():  # the process ends, which is no fault of the back end
                raise
            log.warning(
                "back end %s in %s failed for %s: %s", name, precision, self._program.name, error,
                extra={"event": "backend_failed", "backend": name, "model": self._program.name},
            )  # fmt: skip
            return None
        if not cosine > self._cpu.min_cosine:
            log.warning(
                "back end %s in %s is not used for %s: cosine %.4f is not above %g",
                name, precision, self._program.name, cosine, self._cpu.min_cosine,
                extra={"event": "backend_refused", "backend": name, "precision": precision, "cosine": cosine},
            )  # fmt: skip
            return None
        failures = row_failures(reference, rows)
        if failures:
            log.warning(
                "back end %s in %s is not used for %s: %s",
                name, precision, self._program.name, "; ".join(failures),
                extra={"event": "backend_refused", "backend": name, "precision": precision, "cosine": cosine},
            )  # fmt: skip
            return None
        return runner, cosine

    def _time(self, runners: Mapping[tuple[str, Arithmetic], Runner]) -> dict[tuple[str, Arithmetic], float]:
        """Return each runner's processor seconds over the check inputs."""
        return processor_seconds(runners, self._program.check())

    def _reference(self) -> NDArray[np.float32]:
        """Return the fp32 output for the check inputs; kept on disk, so that a later start spares torch."""
        cache = self._program.cache
        path = cache and cache / f"reference-{_digest(self._program.name + code_digest())}.npy"
        if path is not None:
            try:
                stored: NDArray[np.float32] = np.load(path, allow_pickle=False)
                if stored.ndim == 2 and stored.dtype == np.float32:
                    return stored
            except (OSError, ValueError, EOFError):
                pass  # not there yet, or damaged: computed below
        reference = _rows(self.standard, self._program)
        if path is not None:
            _write(path, lambda file: np.save(file, reference))
        return reference

    def _adopt_remembered(self) -> Runner | None:
        """Prepare the remembered choice, measuring its precision again; None when there is none to use."""
        choice = self.remembered()
        if choice is None:
            return None
        prepared = self._prepare(choice.backend, choice.precision)
        if prepared is None:  # it has warned
            return self._settle(Choice(*STANDARD, 1.0, {}), self.standard)
        return self._settle(dataclasses.replace(choice, cosine=prepared[1]), prepared[0])

    def remembered(self) -> Choice | None:
        """Return what was chosen on this machine before; None where nothing was, or not for this."""
        path = self._choice_file()
        if path is None:
            return None
        try:
            return Choice(**json.loads(path.read_text(encoding="utf-8"))["choice"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not used: %s", path, error)
            return None

    def _settle(self, choice: Choice, runner: Runner) -> Runner:
        self.choice, self._chosen = choice, runner
        return runner

    def _label(self) -> str:
        return f"{self.choice.backend}/{self.choice.precision}" if self.choice else "standard/fp32"

    def _key(self) -> dict[str, object]:
        """Return all that the choice depends on."""
        features = cpu_features()
        return {
            "model": self._program.name,
            "code": code_digest(),
            "machine": f"{features.model}, {features.cores} cores, {' '.join(sorted(features.names))}",
            "versions": {name: _version(name) for name in PACKAGES},
            "configuration": dataclasses.asdict(self._cpu),
        }  # fmt: skip

    def _choice_file(self) -> Path | None:
        if self._program.cache is None:
            return None
        return self._program.cache / f"choice-{_digest(json.dumps(self._key(), sort_keys=True))}.json"

    def _choice_file_exists(self) -> bool:
        path = self._choice_file()
        return path is not None and path.is_file()

    def _remember(self, choice: Choice) -> None:
        path = self._choice_file()
        if path is not None:
            text = json.dumps({"key": self._key(), "choice": dataclasses.asdict(choice)}, indent=1)
            _write(path, lambda file: file.write(text.encode()))


def mean_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the mean cosine of the rows of ``a`` and ``b``, (n, dimension); NaN if one is not finite."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(axis=1) / norms))


def _rows(runner: Runner, program: Program) -> NDArray[np.float32]:
    outputs = runner.run(program.check())
    return np.concatenate([output.reshape(-1, output.shape[-1]) for output in outputs])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file that then takes the place of ``path``, whole; a failure is logged."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part, part.open("wb") as file:
            write(file)
    except OSError as error:
        log.warning("%s cannot be written, so each process measures again: %s", path, error)
