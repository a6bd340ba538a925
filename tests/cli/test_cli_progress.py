"""How far a long command is: lines where standard error is no terminal, bars where it is one."""

from __future__ import annotations

import io
import sys

import pytest

from aios_db.cli import progress


def test_long_work_prints_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 5.0, 12.0, 21.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress.shown() as told:
        for done in range(1, 4):
            told("rounding", done, 12)
        told("verified", 0, 0)
        told("distilling", 4, 9)
    assert capsys.readouterr().err.splitlines() == [
        "rounding: 2 of 12, 0.2 minutes",
        "  verified",
        "distilling: 4 of 9, 0.5 minutes",
    ]


def test_on_a_terminal_each_piece_of_work_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.shown() as told:
        told("rounding", 3, 12)
        told("verified [1]", 0, 0)
        told("distilling", 9, 9)
        told("rounding", 12, 12)
    text = terminal.getvalue()
    assert "verified [1]" in text
    assert "12/12" in text.rpartition("rounding")[2]
    assert "9/9" in text.rpartition("distilling")[2]


def test_who_wants_json_is_shown_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown(quiet=True) as told:
        told("verified", 0, 0)
    assert capsys.readouterr().err == ""
