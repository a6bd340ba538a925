"""Arrow allocates where the C library does, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

POOL = "ARROW_DEFAULT_MEMORY_POOL"
WHICH = "import aios_db, pyarrow; print(pyarrow.default_memory_pool().backend_name)"


@pytest.mark.parametrize(("given", "expected"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_the_pool(given: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != POOL}
    if given:
        environment[POOL] = given
    command = [sys.executable, "-c", WHICH]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    assert ran.stdout.split() == [expected]
