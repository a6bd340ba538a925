"""Collects what the faults left, and prints it as a table at the end."""

from __future__ import annotations

from collections import Counter

import pytest

_TRIES: Counter[tuple[str, str]] = Counter()
_LOST: Counter[tuple[str, str]] = Counter()
_UNOPENED: Counter[tuple[str, str]] = Counter()


class Tally:
    """Counts outcomes by fault and database."""

    def add(self, fault: str, system: str, *, lost: int, opened: bool) -> None:
        _TRIES[fault, system] += 1
        _LOST[fault, system] += lost
        _UNOPENED[fault, system] += not opened


@pytest.fixture
def tally() -> Tally:
    return Tally()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _TRIES:
        terminalreporter.write_line("| fault | database | tries | acknowledged and lost | not opened |")
        terminalreporter.write_line("| --- | --- | --- | --- | --- |")
        for fault, system in sorted(_TRIES):
            key = fault, system
            terminalreporter.write_line(
                f"| {fault} | {system} | {_TRIES[key]} | {_LOST[key]} | {_UNOPENED[key]} |"
            )
