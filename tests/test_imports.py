"""Every module imports alone: none relies on another having been imported first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aios_db

PACKAGE = Path(aios_db.__file__).parent
PARTS = 2

# Third-party modules stay between two imports, so that one process serves for many; ours all go.
ALONE = """
import importlib, sys

failed = []
for name in sys.argv[1:]:
    for loaded in [each for each in sys.modules if each.partition(".")[0] == "aios_db"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ImportError) and "pip install 'aios_db[" in str(error):
            continue  # of an extra that is not installed, and says so
        failed.append(f"{name}: {error!r}")
print("\\n".join([f"{len(sys.argv) - 1} tried", *failed]))
"""


def modules() -> list[str]:
    found = []
    for directory, folders, files in os.walk(PACKAGE, followlinks=True):
        folders.sort()
        for file in sorted(files):
            if file.endswith(".py") and file != "__main__.py":
                parts = Path(directory, file).relative_to(PACKAGE).with_suffix("").parts
                found.append(".".join(("aios_db", *parts)).removesuffix(".__init__"))
    return found


def test_modules_are_found_in_every_folder() -> None:
    found = modules()
    assert {"aios_db.models.versions", "aios_db.engine.catalog.find", "aios_db.udfs.live"} <= set(found)
    assert len(found) > 200


@pytest.mark.parametrize("part", range(PARTS))
def test_every_module_imports_alone(part: int) -> None:
    names = modules()[part::PARTS]
    done = subprocess.run([sys.executable, "-c", ALONE, *names], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:-1] == [f"{len(names)} tried"], done.stderr
