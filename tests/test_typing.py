"""What an editor and `mypy agent.py` see of the installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

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
    command = [sys.executable, "-m", "mypy", "--python-version", "3.11", "agent.py"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    lines = run.stdout.splitlines()
    assert 'agent.py:17: note: Revealed type is "aios_db.memory.Memory | None"' in lines, run.stdout
    wrong = {int(line.split(":")[1]) for line in lines if ": error:" in line}
    assert wrong == {18, 19, 20, 21, 22}, run.stdout


@pytest.mark.parametrize(
    "name",
    [
        "recall",
        "get",
        "remember",
        "update",
        "link",
        "forget",
        "erase",
        "optimize",
        "history",
        "undo",
        "restore",
    ],
)
def test_a_framework_can_read_the_types_of_what_it_makes_tools_of(name: str) -> None:
    assert "return" in get_type_hints(getattr(aios_db.Connection, name))
