"""What an editor and `mypy agent.py` see of the installed package."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import aios_db

AGENT = """\
import uuid
from datetime import datetime

import aios_db

con = aios_db.connect("agent.aios")
one: str = con.remember("a", session_id=uuid.uuid4(), occurred_at=datetime.now(), metadata={"a": 1})
same: str = con.remember({"text": "a"}, user_id="u")
many: list[str] = con.remember(["a", "b"], importance=0.5, fold=True)
found: list[aios_db.Recollection] = con.recall("a", k=3, user_id="u")
changed: int = con.update(one, text="b", tier=None) + con.update([{"memory_id": one}], trust=0.5)
gone: int = con.forget(user_id=["u"], before="2024-01-01") + con.erase(one).memories
memory = con.get(one)
if memory is not None:
    text: str = memory.text
several: list[aios_db.Memory | None] = con.get(many)
reveal_type(memory)
con.remember("a", sesion_id="s")
con.recall("a", kk=3)
con.forget(tier="short")
con.update(one, colour="red")
con.get(one).text
"""


def test_mypy_finds_the_types_of_the_installed_package(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    # What is ours is read as users' mypy reads it; to read torch takes longer, and nothing public is of it.
    (tmp_path / "mypy.ini").write_text("[mypy]\n[mypy-torch.*,pandas.*,polars.*]\nfollow_imports = skip\n")
    command = [sys.executable, "-m", "mypy", "--python-version", "3.11", "agent.py"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    lines = run.stdout.splitlines()
    assert 'agent.py:17: note: Revealed type is "aios_db.memory.Memory | None"' in lines, run.stdout
    wrong = {int(line.split(":")[1]) for line in lines if ": error:" in line}
    assert wrong == {18, 19, 20, 21, 22}, run.stdout


def public(owner: type) -> list[tuple[str, Callable[..., Any]]]:
    """Return the public methods of a class, those it inherits and the getters of properties among them."""
    members = ((f"{owner.__name__}.{name}", getattr(owner, name)) for name in dir(owner) if name[0] != "_")
    methods = ((name, each.fget if isinstance(each, property) else each) for name, each in members)
    return [(name, each) for name, each in methods if inspect.isfunction(each)]


EXPORTED = {name: getattr(aios_db, name) for name in aios_db.__all__}
CLASSES = [each for each in EXPORTED.values() if inspect.isclass(each)]
FUNCTIONS = [(name, each) for name, each in EXPORTED.items() if inspect.isfunction(each)]
CALLED = FUNCTIONS + [
    each for owner in CLASSES for each in [(owner.__name__, owner.__init__), *public(owner)]
]


def of_the_package(type_: object) -> Iterator[type]:
    """Give the package's own classes that a type is made of."""
    for part in get_args(type_):
        yield from of_the_package(part)
    if inspect.isclass(type_) and type_.__module__.startswith("aios_db."):
        yield type_


def test_a_framework_can_read_the_types_of_what_it_makes_tools_of() -> None:
    unreadable, returned = [], {*CLASSES}
    for name, each in CALLED:
        try:
            returned.update(of_the_package(get_type_hints(each).get("return")))
        except NameError as error:
            unreadable.append(f"{name}: {error}")
    assert not unreadable
    for owner in returned:
        get_type_hints(owner)
    names = {name for name, _ in CALLED}
    assert {"connect", "salvage", "Connection.backup", "Cursor.df", "Connection.sql", "Cursor"} <= names
    assert {"BackupReport", "FusionReport", "SalvageReport"} <= {each.__name__ for each in returned}


def test_what_is_imported_when_it_is_asked_for_is_listed_all_the_same() -> None:
    script = "import aios_db, sys; print('duckdb' in sys.modules, set(aios_db.__all__) - set(dir(aios_db)))"
    listed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert listed.stdout == "False set()\n"
