"""The tables of functions in docs/sql.md say what udfs/sql declares."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from aios_db.udfs.registry import TOPICS, sql_objects

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(\w+)\((.*?)\)` \| (.+) \|$", re.MULTILINE)


def arguments(text: str) -> dict[str, str]:
    """Return names and defaults; a filter's argument has NULL, one that must be given nothing."""
    found = (each.partition(":=") for each in text.split(",") if each.strip())
    return {name.strip(): default.strip() for name, _, default in found}


def test_functions_have_the_arguments_that_the_page_says():
    declared = {}
    for item in sql_objects():
        head = re.match(r'CREATE MACRO "?\w+"?\(([^()]*)\)', item.statement)
        if head:
            declared[item.name] = arguments(head[1])
    rows = ROW.findall((DOCS / "sql.md").read_text("utf-8"))
    assert len(rows) > 20
    for name, given, _ in rows:
        told = arguments(given)
        some = any("…" in each for each in (*told, *told.values()))
        told.pop("…", None)
        assert set(told) <= set(declared[name]), f"docs/sql.md: {name} has no such argument"
        for argument, default in told.items():
            assert default in {"…", declared[name][argument]}, f"docs/sql.md: {name}, {argument}"
        if not some:
            assert set(told) == set(declared[name]), f"docs/sql.md: {name} has other arguments, too"


def test_each_function_has_a_comment_that_says_what_it_does():
    for topic in TOPICS:
        text = (resources.files("aios_db.udfs") / "sql" / f"{topic}.sql").read_text(encoding="utf-8")
        for made in re.finditer(r'^CREATE MACRO "?(\w+)', text, re.MULTILINE):
            assert re.search(r"^-- .*\n\Z", text[: made.start()], re.MULTILINE), f"{topic}.sql: {made[1]}"
