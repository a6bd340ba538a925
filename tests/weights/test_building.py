"""Directories that are built beside their place: whole or not there, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aios_db.engine.weights.building import building

KILLED = """
import os, sys
from pathlib import Path
from aios_db.engine.weights.building import building
with building(Path(sys.argv[1])) as build:
    (build / "half").write_text("half")
    os._exit(9)
"""


def aged(directory: Path) -> None:
    then = time.time() - 3600
    os.utime(directory, (then, then))


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "model"
    assert subprocess.run([sys.executable, "-c", KILLED, target], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    aged(left)
    other = tmp_path / ".model-2.abc"  # of another name
    other.mkdir()
    aged(other)
    with building(target) as build:
        (build / "whole").write_text("whole")
        build.rename(target)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".model-2.abc", "model"]
    assert [each.name for each in target.iterdir()] == ["whole"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_what_another_is_building_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with building(target) as first:
        aged(first.parent)
        with building(target) as second:
            assert first.is_dir() and second != first
        assert first.is_dir() and not second.exists()
    with pytest.raises(ZeroDivisionError), building(target):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
