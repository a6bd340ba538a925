"""A wheel has the compiled loops of searches, or whoever builds it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = """
import runpy, sys
sys.modules["Cython"] = None
sys.argv = ["setup.py", "bdist_wheel"]
runpy.run_path("setup.py", run_name="__main__")
"""


def test_no_wheel_is_made_where_cython_is_not_installed() -> None:
    pytest.importorskip("setuptools")
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert built.returncode == 1
    assert "pip install 'Cython>=3.1'" in built.stderr and built.stdout == ""
