"""Which back end is faster does not depend on what else the machine does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from aios_db.engine.backends import timing
from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.backends.timing import expected_loss, is_busy, preferred, processor_seconds


class Work:
    """Takes a number of steps, and waits besides."""

    def __init__(self, steps: int, waits: float = 0.0) -> None:
        self.steps, self.waits, self.runs = steps, waits, 0

    def run(self, batches: Sequence[Any]) -> list[Any]:
        self.runs += 1
        time.sleep(self.waits)
        total = 0
        for number in range(self.steps):
            total += number
        return [total]


@contextmanager
def busy(processes: int) -> Iterator[None]:
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


@pytest.mark.parametrize("processes", [0, 16])
def test_the_same_one_wins_on_a_busy_machine(processes: int) -> None:
    runners = {
        ("openvino", "int8"): Work(30_000, waits=0.003),
        ("openvino", "bf16"): Work(80_000),
        ("standard", "fp32"): Work(120_000),
    }
    with busy(processes):
        times = processor_seconds(runners, [])  # type: ignore[arg-type]
    assert preferred(times) == ("openvino", "int8")
    assert times["openvino", "int8"] < times["standard", "fp32"]


def test_only_a_clear_margin_overturns_the_expected_order() -> None:
    int8, bf16, fp32 = ("openvino", "int8"), ("openvino", "bf16"), ("standard", "fp32")
    assert preferred({fp32: 0.352, int8: 0.381}) == int8  # as it was measured with a load of 8
    assert preferred({fp32: 1.0, bf16: 1.2, int8: 1.25}) == int8
    assert preferred({fp32: 1.0, bf16: 1.2, int8: 1.4}) == bf16
    assert preferred({fp32: 1.0, bf16: 1.4, int8: 1.4}) == fp32
    assert preferred({fp32: 1.0}) == fp32


def test_a_hopeless_one_is_not_timed_to_the_end() -> None:
    runners = {("openvino", "int8"): Work(2_000), ("standard", "fp32"): Work(400_000)}
    processor_seconds(runners, [])  # type: ignore[arg-type]
    assert runners["openvino", "int8"].runs == timing.ROUNDS + 1
    assert runners["standard", "fp32"].runs < timing.ROUNDS


def test_what_a_missing_back_end_costs() -> None:
    fast = replace(cpu_features(), names=frozenset({"vnni", "avx512_bf16"}))
    plain = replace(cpu_features(), names=frozenset())
    found = [("standard", "fp32"), ("standard", "bf16")]
    assert expected_loss("openvino", found, fast, quantizable=True) > timing.WORTH_A_WARNING  # type: ignore[arg-type]
    assert expected_loss("openvino", found, fast, quantizable=False) <= 1.0  # type: ignore[arg-type]
    assert expected_loss("openvino", found[:1], plain, quantizable=True) == 1.0  # type: ignore[arg-type]


def test_busy_is_told_by_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(timing, "usable_cores", lambda: 2)
    for load, expected in ((0.3, False), (2.4, False), (2.6, True), (16.0, True)):
        monkeypatch.setattr(timing.os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert is_busy() is expected
