"""What encoding is fast by comes with a plain installation, and holds from the first import on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")


@pytest.mark.parametrize(
    ("machine", "system", "expected"),
    [
        ("x86_64", "linux", True),
        ("AMD64", "win32", True),
        ("arm64", "darwin", True),
        ("aarch64", "linux", False),  # no wheel
        ("ARM64", "win32", False),
        ("x86_64", "darwin", False),
    ],
)
def test_openvino_is_installed_where_it_has_a_wheel(machine: str, system: str, expected: bool) -> None:
    tomllib = pytest.importorskip("tomllib")
    required = [
        requirement
        for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
        if (requirement := Requirement(each)).name == "openvino"
    ]
    environment = {"platform_machine": machine, "sys_platform": system}
    assert any(each.marker and each.marker.evaluate(environment) for each in required) is expected


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(given: str | None) -> None:
    """The variables are read when torch loads, which a program may import right after aios_db."""
    script = f"import os, aios_db; print(*map(os.environ.get, {WAITING}))"
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == [given or "PASSIVE", "0"]
