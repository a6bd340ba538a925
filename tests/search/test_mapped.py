"""Large arrays of a segment lie in mappings of their own, so that a replaced one is no hole in a heap."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig
from aios_db.search import mapped

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="large arrays are NumPy's own")
DIMENSION = 384
LARGE = 1 << 16


def owner(array: NDArray[Any]) -> object:
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base.obj if isinstance(base, memoryview) else base


def rows(count: int) -> pa.Table:
    vectors = np.random.default_rng(0).normal(size=(count, DIMENSION)).astype(np.float32)
    texts = [" ".join(f"word{(number * step) % 997}" for step in range(1, 25)) for number in range(count)]
    return pa.table({"text": texts, "text_embedding": vectors.tolist()})


def test_large_arrays_of_a_segment_and_of_what_came_since_are_mapped(tmp_path: Path) -> None:
    storage = StorageConfig(dimension=DIMENSION, maintenance_delay_s=3600, durability="normal")
    store = MemoryStore.open(tmp_path / "x.aios", config=Config(storage=storage))
    written = rows(1_200)
    store.remember(written[:900])
    store.optimize()
    store.remember(written[900:])
    documents = store.index._current.view.documents
    store.close()
    arrays = {**documents.segment.arrays, "growing": documents.growing.vectors}
    large = {name: each for name, each in arrays.items() if each.nbytes >= LARGE}
    assert {"vectors", "statistics_outer", "term_docs", "growing"} <= large.keys()
    assert [name for name, each in large.items() if not isinstance(owner(each), mmap.mmap)] == []


_AMID_SMALL_BLOCKS = """
import re
from pathlib import Path
import numpy as np
from aios_db.search import mapped

def own():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

np.ones(3 << 20)  # from here on the C library has arrays of up to 24 MB in its heap
before, small, large = own(), [], []
for _ in range(64):
    large.append(mapped.settled(np.ones(1 << 17)))  # 1 MB
    small.append(bytes(600))
held = own()
large.clear()
print(held - before, own() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
def test_the_system_has_back_what_goes_also_amid_small_blocks() -> None:
    """In a process of its own, since other threads allocate in this one."""
    ran = subprocess.run(
        [sys.executable, "-c", _AMID_SMALL_BLOCKS], capture_output=True, check=True, timeout=120
    )
    held, left = map(int, ran.stdout.split())
    assert held > 60 << 20
    assert left < 8 << 20


@pytest.mark.parametrize("count", [0, 1, 1000, 100_000, 1_000_000])
def test_an_array_is_what_was_settled(count: int) -> None:
    array = np.arange(2 * count, dtype=np.float64).reshape(-1, 2)
    found = mapped.settled(array)
    assert found.dtype == array.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)
