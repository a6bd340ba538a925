from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aios_db.engine.backends import selection
from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.backends.protocol import Arithmetic, Arrays, Program
from aios_db.engine.backends.registry import BACKENDS
from aios_db.engine.backends.session import Session as DeviceSession
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import DataError

torch = pytest.importorskip("torch")


def session_of(program: Program, cpu: CpuConfig) -> DeviceSession:
    return DeviceSession(program, cpu, DeviceConfig(target="cpu"))


def make_program(cache: Path | None, bulk: int = 8) -> Program:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 4)).eval()
    inputs = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    return Program(
        name="toy@0", module=lambda: module, load=lambda: None, shapes=((-1, 6),),
        calibration=lambda: [(inputs,)], check=lambda: [(inputs[:2],), (inputs[2:],)], bulk=bulk, cache=cache,
    )  # fmt: skip


def rows(n: int) -> list[Arrays]:
    return [(np.random.default_rng(1).normal(size=(n, 6)).astype(np.float32),)]


class Fast:
    """The right answers, faster than anything."""

    prepared = 0
    error = 0.0
    fails_at: str | None = None
    raised: Exception = RuntimeError("illegal instruction")
    reason: str | None = None

    def missing(self) -> str | None:
        return self.reason

    def precisions(self, features: object) -> tuple[Arithmetic, ...]:
        return ("int8",)

    def prepare(self, program: Program, precision: Arithmetic, threads: int) -> Fast:
        type(self).prepared += 1
        if self.fails_at == "prepare":
            raise self.raised
        self.module = program.module()
        return self

    def run(self, batches: Sequence[Arrays]) -> list[Any]:
        if self.fails_at == "run" and len(batches) != 2:  # the check inputs are two batches
            raise self.raised
        with torch.inference_mode():
            return [
                self.module(torch.from_numpy(x)).numpy() + np.float32([self.error, 0, 0, 0])
                for (x,) in batches
            ]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> type[Fast]:
    class Injected(Fast):
        pass

    monkeypatch.setattr(
        selection, "get_backend", lambda name: Injected() if name == "fast" else original(name)
    )
    original = __import__("aios_db.engine.backends.registry", fromlist=["get_backend"]).get_backend
    monkeypatch.setattr(selection, "AUTOMATIC", ("fast", "standard"))
    monkeypatch.setattr(selection.CpuSelection, "_time", lambda self, runners: {
        candidate: 1.0 if candidate[0] == "fast" else 2.0 for candidate in runners
    })  # fmt: skip
    return Injected


def expected(batches: list[Arrays]) -> np.ndarray:
    with torch.inference_mode():
        return make_program(None).module()(torch.from_numpy(batches[0][0])).numpy()


def test_a_bulk_call_chooses_the_fastest_and_small_ones_before_it_do_not(
    fast: type[Fast], tmp_path: Path
) -> None:
    session = session_of(make_program(tmp_path), CpuConfig())
    session.run(rows(2))
    assert session.choice is None
    assert fast.prepared == 0
    batches = rows(8)
    assert np.allclose(session.run(batches)[0], expected(batches), atol=1e-6)
    assert session.choice is not None
    assert (session.choice.backend, session.choice.precision) == ("fast", "int8")
    assert session.choice.cosine == pytest.approx(1)
    assert session.choice.milliseconds["standard/fp32"] == 2000


def test_time_spent_waiting_makes_the_choice_due(fast: type[Fast], tmp_path: Path) -> None:
    session = session_of(make_program(tmp_path), CpuConfig())
    session._cpu.spent(selection.PATIENCE_S)
    session.run(rows(1))
    assert session.choice is not None


def test_the_choice_is_remembered_and_its_precision_measured_again(fast: type[Fast], tmp_path: Path) -> None:
    session_of(make_program(tmp_path), CpuConfig()).tune()
    assert fast.prepared == 1
    session = session_of(make_program(tmp_path), CpuConfig())
    session.run(rows(1))
    assert session.choice is not None
    assert session.choice.backend == "fast"
    assert fast.prepared == 2


def test_a_remembered_choice_that_lost_its_precision_is_not_used(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session_of(make_program(tmp_path), CpuConfig()).tune()
    fast.error = 50.0
    session = session_of(make_program(tmp_path), CpuConfig())
    batches = rows(1)
    assert np.allclose(session.run(batches)[0], expected(batches), atol=1e-6)
    assert session.choice is not None
    assert session.choice.backend == "standard"
    assert "is not above 0.99" in caplog.text


@pytest.mark.parametrize("damage", ["", "{", '{"choice": {"backend": "fast"}}', "[]"])
def test_a_damaged_choice_is_measured_anew(
    fast: type[Fast], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    session_of(make_program(tmp_path), CpuConfig()).tune()
    (file,) = tmp_path.glob("choice-*.json")
    file.write_text(damage)
    session = session_of(make_program(tmp_path), CpuConfig())
    session.run(rows(1))
    assert session.choice is not None
    assert session.choice.backend == "fast"
    assert f"{file} is not used" in caplog.text
    assert json.loads(file.read_text())["choice"]["backend"] == "fast"


def test_the_choice_depends_on_the_configuration(fast: type[Fast], tmp_path: Path) -> None:
    session_of(make_program(tmp_path), CpuConfig()).tune()
    session = session_of(make_program(tmp_path), CpuConfig(min_cosine=0.5))
    session.run(rows(1))
    assert session.choice is None


def test_the_choice_of_another_machine_is_not_used(
    fast: type[Fast], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_of(make_program(tmp_path), CpuConfig()).tune()
    other = replace(cpu_features(), cores=cpu_features().cores + 62)
    monkeypatch.setattr(selection, "cpu_features", lambda: other)
    session = session_of(make_program(tmp_path), CpuConfig())
    session.run(rows(1))
    assert session.choice is None
    session.tune()
    assert len(list(tmp_path.glob("choice-*.json"))) == 2


def test_automatic_choice_goes_on_without_the_back_ends_that_are_missing(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast.reason = "fast is not installed: pip install fast"
    session = session_of(make_program(tmp_path), CpuConfig(precision="fp32"))
    batches = rows(8)
    assert np.allclose(session.run(batches)[0], expected(batches), atol=1e-6)
    assert session.choice is not None
    assert (session.choice.backend, session.choice.precision) == ("standard", "fp32")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_precision_that_is_nowhere_is_replaced_with_a_warning(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast.reason = "fast is not installed: pip install fast"
    assert session_of(make_program(tmp_path), CpuConfig(precision="int8")).tune().precision == "fp32"
    assert "no back end has int8 here" in caplog.text


def test_what_other_code_chose_and_computed_is_not_used(
    fast: type[Fast], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_of(make_program(tmp_path), CpuConfig()).tune()
    monkeypatch.setattr(selection, "code_digest", lambda: "0123456789ab")
    session = session_of(make_program(tmp_path), CpuConfig())
    session.run(rows(1))
    assert session.choice is None
    session.tune()
    assert len(list(tmp_path.glob("reference-*.npy"))) == 2


def test_an_imprecise_back_end_is_refused(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast.error = 50.0
    assert session_of(make_program(tmp_path), CpuConfig(backend="auto")).tune().backend == "standard"
    assert "back end fast in int8 is not used for toy@0: cosine" in caplog.text


def test_nan_is_not_precise(fast: type[Fast], tmp_path: Path) -> None:
    fast.error = float("nan")
    assert session_of(make_program(tmp_path), CpuConfig()).tune().backend == "standard"


def test_a_back_end_that_cannot_be_built_is_replaced(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast.fails_at = "prepare"
    session = session_of(make_program(tmp_path), replace(CpuConfig(), backend="fast"))  # type: ignore[arg-type]
    batches = rows(3)
    assert np.allclose(session.run(batches)[0], expected(batches), atol=1e-6)
    assert "illegal instruction" in caplog.text


def test_the_end_of_the_process_is_no_fault_of_a_back_end(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast.fails_at = "prepare"
    monkeypatch.setattr(selection.threading, "main_thread", threading.Thread)  # it has ended
    with pytest.raises(RuntimeError):
        selection.CpuSelection(make_program(tmp_path), CpuConfig()).tune()
    assert not list(tmp_path.glob("choice-*")) and not caplog.records


def test_a_back_end_that_fails_in_a_call_is_replaced_for_the_whole_call(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast.fails_at = "run"
    session = session_of(make_program(tmp_path), CpuConfig())
    batches = rows(8)
    assert np.allclose(session.run(batches)[0], expected(batches), atol=1e-6)
    assert session.choice is not None
    assert session.choice.backend == "standard"
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        record.getMessage() == "back end fast/int8 failed, the standard one takes over: illegal instruction"
    )


def test_an_error_of_the_data_is_not_a_failure_of_the_back_end(fast: type[Fast], tmp_path: Path) -> None:
    fast.fails_at, fast.raised = "run", DataError("NaN in row 3")
    session = session_of(make_program(tmp_path), CpuConfig())
    with pytest.raises(DataError, match="NaN in row 3"):
        session.run(rows(8))


def test_a_missing_back_end_is_replaced_with_a_warning(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast.reason = "fast is not installed: pip install fast"
    session = session_of(make_program(tmp_path), replace(CpuConfig(), backend="fast"))  # type: ignore[arg-type]
    batches = rows(1)
    assert np.allclose(session.run(batches)[0], expected(batches), atol=1e-6)
    assert "pip install fast" in caplog.text


def test_a_precision_the_back_end_lacks_is_replaced_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = session_of(make_program(tmp_path), CpuConfig(backend="standard", precision="int8"))
    assert session.tune().precision == "fp32"
    assert "back end standard has no int8" in caplog.text


def test_no_batches_give_no_output(tmp_path: Path) -> None:
    assert session_of(make_program(tmp_path), CpuConfig()).run([]) == []


def test_an_unwritable_cache_is_a_warning(
    fast: type[Fast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert session_of(make_program(tmp_path / "file"), CpuConfig()).tune().backend == "fast"
    assert "cannot be written" in caplog.text


def test_without_a_cache_nothing_is_remembered(fast: type[Fast]) -> None:
    assert session_of(make_program(None), CpuConfig()).tune().backend == "fast"
    assert session_of(make_program(None), CpuConfig()).choice is None


def test_every_registered_back_end_says_whether_it_is_here() -> None:
    for name in BACKENDS:
        assert isinstance(selection.get_backend(name).missing(), str | None)


def test_a_choice_made_under_load_is_looked_at_again_when_that_is_over(
    fast: type[Fast], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = [True]
    monkeypatch.setattr(selection, "is_busy", lambda: load[0])
    first = session_of(make_program(tmp_path), CpuConfig())
    assert first.tune().provisional
    session = session_of(make_program(tmp_path), CpuConfig())
    session.run(rows(8))
    assert session.choice is not None and session.choice.provisional and fast.prepared == 2  # still busy
    load[0] = False
    session.run(rows(1))
    assert session.choice.provisional  # not worth it for one row
    session.run(rows(8))
    assert not session.choice.provisional
    later = session_of(make_program(tmp_path), CpuConfig())
    later.run(rows(8))
    assert later.choice is not None and not later.choice.provisional


def test_a_missing_back_end_that_costs_much_is_told(
    fast: type[Fast], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fast.reason = "fast is not installed: pip install fast"
    monkeypatch.setattr(selection, "expected_loss", lambda *_, **__: 1.6)
    session_of(make_program(tmp_path), CpuConfig()).run(rows(8))
    assert "pip install fast (1.6 times as fast)" in caplog.text
