"""Arrow allocates where the C library does, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pytest

POOL = "ARROW_DEFAULT_MEMORY_POOL"
WHICH = "import aios_db, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
BEFORE = "import lance, duckdb; "


@pytest.mark.parametrize("before", ["", BEFORE])
@pytest.mark.parametrize(("given", "expected"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_the_pool(given: str | None, expected: str, before: str) -> None:
    """Whether the program has loaded Arrow already or not."""
    assert pool(given, before) == expected


def test_a_pool_that_the_program_has_chosen_is_left() -> None:
    chosen = "import pyarrow as pa; pa.set_memory_pool(pa.jemalloc_memory_pool()); "
    if "jemalloc" not in pa.supported_memory_backends():
        pytest.skip("no other pool in this Arrow")
    assert pool(None, chosen) == "jemalloc"


def pool(given: str | None, before: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != POOL}
    if given:
        environment[POOL] = given
    command = [sys.executable, "-c", before + WHICH]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    return ran.stdout.strip()
