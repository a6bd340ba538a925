"""Each row of docs/requirements.md names tests that are there, or says what is shown instead."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8").splitlines()
    if line.startswith(("| R", "| NFR"))
]
CRITERIA = {1: 7, 2: 10, 3: 9, 4: 9, 5: 8, 6: 11, 7: 7, 8: 9, 9: 10, 10: 9, 11: 8, 12: 9}
"""How many acceptance criteria each requirement of the specification has."""


def test_every_criterion_has_a_row() -> None:
    numbers = [row[0] for row in ROWS]
    wanted = [f"R{each}.{number + 1}" for each, count in CRITERIA.items() for number in range(count)]
    assert sorted({*wanted} - {*numbers}) == []
    assert len(numbers) == len(set(numbers))


def test_every_row_names_tests_that_are_there_or_says_what_is_shown() -> None:
    for number, _, tests, figure in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
        assert named or figure, number
        assert len(named) == tests.count("`") // 2, number
        for file, name in named:
            source = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {name}(" in source, f"{number}: {file}::{name}"


def test_rows_point_at_rows_that_are_there() -> None:
    numbers = {row[0] for row in ROWS}
    for number, _, _, figure in ROWS:
        for other in re.findall(r"\bR\d+\.\d+\b", figure):
            assert other in numbers, number
