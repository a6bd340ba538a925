"""Imports point one way: between the layers of the package, and between the rooms of its engine."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "schema": {"schema"},
    "engine": {"schema", "engine"},
    "migrations": {"schema", "engine", "migrations"},
    "udfs": {"schema", "engine", "udfs"},
}

FLOORS: list[set[str]] = [
    {"weights", "frontends"},
    {"backends"},
    {"architectures"},
    {"convert"},
    {"catalog"},
    {"encoders", "generation"},
    {"validation"},
    {"quantization"},
]
"""The rooms of the engine, from the ground up: each imports from floors below its own."""


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


def engine_imports() -> dict[str, set[str]]:
    """Return the modules of the engine, as paths without suffix, and those that each imports."""
    folder = ROOT / "engine"
    modules = {str(file.relative_to(folder).with_suffix("")): file for file in folder.rglob("*.py")}
    return {
        name: {
            path
            for each in imported_modules(file)
            if (path := each.removeprefix("aios_db.engine.").replace(".", "/")) in modules
        }
        for name, file in modules.items()
    }


def test_the_engine_is_made_of_rooms() -> None:
    rooms = {name.partition("/")[0] for name in engine_imports()} - {"__init__"}
    assert rooms == set.union(*FLOORS)


def test_rooms_import_from_floors_below() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for name, imported in engine_imports().items():
        room = name.partition("/")[0]
        for other in {each.partition("/")[0] for each in imported} - {room}:
            assert floor[other] < floor[room], f"engine/{name}.py imports from {other}"


def test_the_documentation_draws_the_floors() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = text.partition("which the same test keeps:\n\n")[2].partition("\n\n")[0]
    assert [set(line.split()) for line in reversed(drawn.splitlines())] == FLOORS


def test_no_modules_of_the_engine_import_each_other_in_a_circle() -> None:
    order: Iterable[str] = TopologicalSorter(engine_imports()).static_order()  # CycleError names the circle
    assert len(list(order)) > 100
