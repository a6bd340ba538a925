from __future__ import annotations

import gc
import logging
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from aios_db.engine.backends import locked_pages
from aios_db.engine.backends.locked_pages import LockedPages
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights

CPU = torch.device("cpu")
VALUES = np.arange(5000, dtype=np.float32).reshape(50, 100)


class Driver:
    """Stands for the CUDA runtime."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.spans: dict[int, int] = {}

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        assert flags == locked_pages.READ_ONLY
        if not self.status:
            self.spans[address] = size
        return self.status

    def cudaHostUnregister(self, address: int) -> int:
        del self.spans[address]
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    found = Driver()
    monkeypatch.setattr(torch.cuda, "cudart", lambda: found)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    info = LayerInfo("table.weight", VALUES.shape, "torch.float32", VALUES.size)
    write_weights(tmp_path / "weights.parquet", [StoredTensor(info, VALUES)])
    return tmp_path / "weights.parquet"


def test_parameters_are_copied_from_locked_pages_of_a_mapping_that_nobody_writes(
    path: Path, driver: Driver
) -> None:
    file = WeightFile(path)
    parameter = file.tensor("table.weight")
    pages = LockedPages(file, CPU)
    view = pages.view(parameter)
    ((start, size),) = driver.spans.items()
    assert start <= view.data_ptr() < start + size == start + path.stat().st_size
    assert not file.maps(view.data_ptr())
    assert torch.equal(view, torch.from_numpy(VALUES))
    own = torch.ones(3)
    assert pages.view(own) is own  # converted weights have memory of their own
    del view, pages
    gc.collect()
    assert driver.spans == {}


def test_where_the_driver_refuses_copies_go_through_a_buffer(
    path: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver.status = 801
    cleared: list[object] = []
    empty = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *args, **kwargs: cleared.append(args) or empty(*args, **kwargs)
    )
    file = WeightFile(path)
    parameter = file.tensor("table.weight")
    with caplog.at_level(logging.INFO):
        assert LockedPages(file, CPU).view(parameter) is parameter
    assert "pages are not locked, copies go through a buffer: cudaHostRegister returned 801" in caplog.text
    assert cleared  # the runtime would report the error at the next kernel


def test_a_file_that_was_replaced_is_not_read(path: Path, driver: Driver) -> None:
    file = WeightFile(path)
    parameter = file.tensor("table.weight")
    other = path.with_name("other.parquet")
    other.write_bytes(path.read_bytes())
    other.replace(path)
    assert LockedPages(file, CPU).view(parameter) is parameter
    assert driver.spans == {}


@pytest.mark.parametrize("mapped", [True, False])
def test_without_a_mapping_nothing_is_locked(path: Path, driver: Driver, mapped: bool) -> None:
    if mapped:
        write_weights(
            path, [StoredTensor(WeightFile(path).layers["table.weight"], VALUES)], compression="zstd"
        )
    file = WeightFile(path, mapped=mapped)
    parameter = file.tensor("table.weight")
    assert LockedPages(file, CPU).view(parameter) is parameter
    assert driver.spans == {}
