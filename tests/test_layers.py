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
    {"fusion"},
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


def package_files() -> dict[str, Path]:
    """Return the modules of the package by their full names."""
    tops = {"aios_db": ROOT / "aios_db"} | {f"aios_db.{each}": ROOT / each for each in MAY_IMPORT}
    linked = {ROOT / "aios_db" / each for each in MAY_IMPORT}
    return {
        ".".join((name, *file.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): file
        for name, folder in tops.items()
        for file in folder.rglob("*.py")
        if linked.isdisjoint(file.parents)
    }


def run_imports(source: Path, known: set[str]) -> set[str]:
    """Return the ``known`` modules that a module imports when it is imported or when its functions run.

    What is imported for type checkers alone is left out. ``from package import module`` counts as the module.
    """
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(source.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            nodes.extend(node.orelse)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(inner & known)
            if not inner <= known:
                found.add(node.module or "")
        else:
            nodes.extend(ast.iter_child_nodes(node))
    return found & known


def test_no_modules_of_the_package_need_each_other_in_a_circle() -> None:
    files = package_files()
    # The package itself names everything that users import, and the command line opens databases through it.
    graph = {name: run_imports(file, files.keys() - {"aios_db"}) for name, file in files.items()}
    order: Iterable[str] = TopologicalSorter(graph).static_order()
    assert len(list(order)) > 400
