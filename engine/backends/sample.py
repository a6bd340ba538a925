"""The built-in sentences on which text models are calibrated and checked: of many kinds."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

CHECK_EVERY = 5
PASSAGE = 5  # sentences


@lru_cache(maxsize=1)
def sample_sentences() -> tuple[list[str], list[str]]:
    """Return 80 sentences to calibrate on; and 20 others, with 4 passages of them, to check and time on."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    check = lines[CHECK_EVERY - 1 :: CHECK_EVERY]
    passages = [" ".join(check[start : start + PASSAGE]) for start in range(0, len(check), PASSAGE)]
    return [line for line in lines if line not in check], check + passages
