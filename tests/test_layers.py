"""Imports point one way: aios_db -> udfs -> engine -> schema; migrations -> engine, schema."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "schema": {"schema"},
    "engine": {"schema", "engine"},
    "migrations": {"schema", "engine", "migrations"},
    "udfs": {"schema", "engine", "udfs"},
}


def imported_modules(source: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            module = node.module or ""
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_layer_imports_only_what_lies_below_it(layer: str) -> None:
    sources = sorted((ROOT / layer).rglob("*.py"))
    assert sources
    for source in sources:
        for name in imported_modules(source):
            top, _, rest = name.partition(".")
            assert top not in {*MAY_IMPORT, "store", "search"}, f"{source} imports bare {name}"
            if top == "aios_db" and rest:
                assert rest.split(".")[0] in MAY_IMPORT[layer], f"{source} imports {name}"
