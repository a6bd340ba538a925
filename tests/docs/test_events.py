"""Events of the log are those that the documentation names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _events() -> set[str]:
    return {
        value.value
        for folder in ("aios_db", "engine", "udfs", "schema", "migrations")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "event" and isinstance(value, ast.Constant)
    }


def test_each_event_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_`, ]+) \|", page.partition("## Events")[2], re.M)
    told = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert told == _events()
    assert len(told) > 40
