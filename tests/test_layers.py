"""Imports point one way: between layers, rooms of the engine, folders of the database, and modules."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
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

FOLDERS: list[set[str]] = [
    {"config", "observing", "security"},
    {"disk", "sql"},
    {"models", "trust"},
    {"joint", "search"},
    {"store"},
    {"backup", "exports", "federation", "lifecycle", "provenance"},
    {"benchmarking", "checking", "importers", "methods", "salvaging"},
    {"cli", "mending"},
]
"""The folders of `aios_db`, which stand on the layers, likewise. A module beside them stands for itself."""


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


@pytest.mark.parametrize(
    ("where", "floors"), [("which the same test keeps:", FLOORS), ("stand on each other:", FOLDERS)]
)
def test_the_documentation_draws_the_floors(where: str, floors: list[set[str]]) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = text.partition(f"{where}\n\n")[2].partition("\n\n")[0]
    assert [set(line.split()) for line in reversed(drawn.splitlines())] == floors


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


@cache
def package_imports() -> dict[str, set[str]]:
    """Return the modules of the package, and those that each needs to run."""
    files = package_files()
    # The package itself names everything that users import, and the command line opens databases through it.
    return {name: run_imports(file, files.keys() - {"aios_db"}) for name, file in files.items()}


def test_no_modules_of_the_package_need_each_other_in_a_circle() -> None:
    order: Iterable[str] = TopologicalSorter(package_imports()).static_order()
    assert len(list(order)) > 400


def test_folders_import_from_floors_below() -> None:
    floor = {folder: number for number, folders in enumerate(FOLDERS) for folder in folders}
    assert floor.keys() == {each.parent.name for each in (ROOT / "aios_db").glob("*/__init__.py")} - set(
        MAY_IMPORT
    )
    for name, imported in package_imports().items():
        folder = name.split(".")[1] if name.count(".") else ""
        for other in {each.split(".")[1] for each in imported} - {folder}:
            if folder in floor and other in floor:
                assert floor[other] < floor[folder], f"{name} imports from {other}"


def test_no_folders_need_each_other_through_a_module_beside_them() -> None:
    graph: dict[str, set[str]] = {}
    for name, imported in package_imports().items():
        folder = ".".join(name.split(".")[:2])
        graph.setdefault(folder, set()).update(
            {".".join(each.split(".")[:2]) for each in imported} - {folder}
        )
    order: Iterable[str] = TopologicalSorter(graph).static_order()  # CycleError names the circle
    assert len(list(order)) > 40
