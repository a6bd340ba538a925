"""A lack of memory is an error of PEP 249, whoever met it first, and the connection goes on."""

from __future__ import annotations

import errno
import inspect
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import aios_db
from aios_db.connection import Connection
from aios_db.engine.catalog.find import find_weights
from aios_db.engine.weights import reader
from aios_db.schema.shortage import lacks_memory, shortage, tells_shortage

LOADED = "libtorch_cpu.so: failed to map segment from shared object"
LACKS = [
    MemoryError(),
    MemoryError("Unable to allocate 8.00 GiB"),
    ImportError(LOADED),
    OSError(LOADED),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes"),
]


@pytest.mark.parametrize("raised", LACKS, ids=repr)
def test_a_lack_of_memory_is_an_operational_error(raised: Exception) -> None:
    @tells_shortage
    def consolidate() -> None:
        raise raised

    with pytest.raises(aios_db.OperationalError, match=r"^consolidate failed: there is too little memory"):
        consolidate()


@pytest.mark.parametrize("raised", [OSError(errno.ENOENT, "no file"), RuntimeError("another")], ids=repr)
def test_any_other_error_stays_what_it_is(raised: Exception) -> None:
    assert not lacks_memory(raised)
    assert shortage("consolidate", raised) is None


def test_each_method_of_a_connection_that_works_with_memories_tells_it() -> None:
    methods = [
        each
        for _, each in inspect.getmembers(Connection, inspect.isfunction)
        if inspect.unwrap(each).__module__.startswith("aios_db.methods.")
    ]
    assert len(methods) > 20
    assert [each.__name__ for each in methods if not hasattr(each, "__wrapped__")] == []


def test_a_library_that_finds_no_memory_is_not_one_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Refusing(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ImportError(LOADED)

    monkeypatch.setitem(sys.modules, "PIL", Refusing("PIL"))
    with (
        aios_db.connect(tmp_path / "a.aios") as con,
        pytest.raises(aios_db.OperationalError, match="recall failed: there is too little memory"),
    ):
        import numpy as np

        con.recall(image=np.zeros((4, 4), np.uint8))


def test_weights_that_find_no_memory_are_neither_damaged_nor_missing(
    monkeypatch: pytest.MonkeyPatch, minilm_dir: Path
) -> None:
    def mapped(path: Path) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(reader, "MappedSource", mapped)
    tries: list[Callable[[], object]] = [
        lambda: reader.WeightFile(minilm_dir / "weights.parquet"),
        lambda: find_weights("minilm@0", [minilm_dir], minilm_dir.parent),
    ]
    for act in tries:
        with pytest.raises(aios_db.OperationalError, match="want of memory") as caught:
            act()
        assert not isinstance(caught.value, aios_db.ModelNotFoundError)


_LIMITED = """
import resource, sys
import aios_db

con = aios_db.connect(sys.argv[1])
con.execute("SELECT count(*) FROM memories").fetchall()
status = open("/proc/self/status").read().split()
used = int(status[status.index("VmSize:") + 1]) << 10
for room in (30 << 20, 90 << 20, 150 << 20):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
    try:
        con.warm()
    except aios_db.Error as error:
        print("told", error, flush=True)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("goes on", con.get("none"), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc")
def test_a_model_loaded_under_a_limit_of_memory_says_so(tmp_path: Path, minilm_dir: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path / "a.aios")],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    assert "told" in ran.stdout
    assert "goes on None" in ran.stdout
