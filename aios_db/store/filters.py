"""Filters for Lance; no user's string ever becomes part of one."""

from __future__ import annotations

from collections.abc import Iterable


def row_filter(row_ids: Iterable[int]) -> str:
    """Return the Lance filter for these row ids; it is made of integers only."""
    return f"_rowid IN ({', '.join(str(int(each)) for each in row_ids)})"
