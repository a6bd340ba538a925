"""What who reads the code may rely on: classes and functions of a size, and one way to tell progress."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("aios_db", "engine", "udfs", "schema", "migrations", "bench")

CLASS_LINES = 250
"""At most, docstrings counted."""
FUNCTION_LINES = 60
"""At most, without the docstring."""


@cache
def nodes() -> list[tuple[Path, ast.AST]]:
    """Return every node of every file, the folders that are linked into the package once."""
    found: list[tuple[Path, ast.AST]] = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT).parts
            if inside[0] != "aios_db" or inside[1] not in FOLDERS:
                found += [(path, node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    return found


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body if ast.get_docstring(function) is None else function.body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_classes_are_read_at_one_sitting() -> None:
    classes = {
        f"{path.relative_to(ROOT)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, node in nodes()
        if isinstance(node, ast.ClassDef)
    }
    assert len(classes) > 400
    assert {name: lines for name, lines in classes.items() if lines > CLASS_LINES} == {}


def test_no_class_is_mixed_from_several() -> None:
    classes = [(path, node) for path, node in nodes() if isinstance(node, ast.ClassDef)]
    ours = {node.name for _, node in classes}
    bases = {
        f"{path.relative_to(ROOT)}: {node.name}": [
            base.id for base in node.bases if isinstance(base, ast.Name) and base.id in ours
        ]
        for path, node in classes
    }
    assert {name: several for name, several in bases.items() if len(several) > 1} == {}


def test_functions_need_no_paragraph() -> None:
    functions = {
        f"{path.relative_to(ROOT)}: {node.name}": body_lines(node)
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(functions) > 2_000
    assert {name: lines for name, lines in functions.items() if lines > FUNCTION_LINES} == {}


def test_how_far_work_is_is_told_in_one_way() -> None:
    protocols = [
        str(path.relative_to(ROOT))
        for path, node in nodes()
        if (isinstance(node, ast.ClassDef) and "Progress" in node.name)
        or (
            isinstance(node, ast.Assign)
            and any(isinstance(each, ast.Name) and "Progress" in each.id for each in node.targets)
        )
    ]
    assert protocols == ["schema/progress.py"]


def test_threads_say_whether_the_process_waits_for_them() -> None:
    threads = [
        (f"{path.relative_to(ROOT)}:{node.lineno}", {each.arg for each in node.keywords})
        for path, node in nodes()
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Thread", "threading.Thread"}
    ]
    assert len(threads) > 5
    # One that does not is a daemon where a daemon starts it, and threads of DuckDB's are daemons to Python.
    assert [place for place, given in threads if "daemon" not in given] == []


def test_a_home_is_looked_up_where_one_that_is_not_known_is_told() -> None:
    calls = [
        path.relative_to(ROOT).as_posix()
        for path, node in nodes()
        if isinstance(node, ast.Attribute) and node.attr == "expanduser"
    ]
    assert set(calls) == {"schema/homes.py", "aios_db/config/files.py"}  # see `expanded`


COUNTED = "(?:memories|links|rows|files|records|versions|backups|items|cards|principles|layers|pairs|agents)"
SAID = re.compile(rf"(?: more| bad| damaged| link| quantized)? {COUNTED}\b(?! at once)")
LOGGED = re.compile(rf"%d(?: \w+)? {COUNTED}\b")


def test_a_count_that_may_be_one_is_said_by_amount() -> None:
    """``1 memories``: `schema.amounts.amount` says how many there are of what."""
    shown = [(path, node) for path, node in nodes() if "bench" not in path.relative_to(ROOT).parts]
    said = [
        (path, node.lineno)
        for path, node in shown
        if isinstance(node, ast.JoinedStr)
        for count, noun in pairwise(node.values)
        if isinstance(count, ast.FormattedValue) and isinstance(noun, ast.Constant) and SAID.match(noun.value)
    ]
    logged = [
        (path, node.lineno)
        for path, node in shown
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and LOGGED.search(node.value)
    ]
    assert [f"{path.relative_to(ROOT)}:{line}" for path, line in said + logged] == []
