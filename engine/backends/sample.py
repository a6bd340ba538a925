"""The built-in sentences on which text models are calibrated and checked: of many kinds."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

CHECK_EVERY = 5


@lru_cache(maxsize=1)
def sample_sentences() -> tuple[list[str], list[str]]:
    """Return the 80 sentences to calibrate on, and 20 others to check precision and speed on."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    check = lines[CHECK_EVERY - 1 :: CHECK_EVERY]
    return [line for line in lines if line not in check], check
