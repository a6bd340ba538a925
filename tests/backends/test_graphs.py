from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from aios_db.engine.backends import graphs as graphs_module
from aios_db.engine.backends.graphs import Graphs

CPU = torch.device("cpu")


class Cuda:
    """Stands for torch.cuda: a graph runs its pass again over the tensors it was recorded with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: list[str] = ["default"]
        self.made = 0
        self.recording: str | None = None
        self.fails = False
        for name in ("Stream", "stream", "current_stream", "graph", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))

    def Stream(self, device: torch.device) -> Any:
        self.made += 1
        return SimpleNamespace(name=f"side {self.made}", wait_stream=lambda other: None)

    def current_stream(self, device: torch.device) -> Any:
        return SimpleNamespace(name=self.streams[-1], wait_stream=lambda other: None)

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before = list(self.streams)
        self.streams.append(stream.name)
        try:
            yield
        finally:
            self.streams = before

    @contextmanager
    def graph(self, graph: Any, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert self.recording is None
        assert capture_error_mode == "thread_local"
        self.recording = stream.name
        self.streams.append(stream.name)
        yield
        self.recording = None
        if self.fails:  # as in torch, whose stream stays the current one then
            raise RuntimeError("operation not permitted when stream is capturing")
        self.streams.pop()

    def empty_cache(self) -> None:
        assert graphs_module._RECORDING.locked()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


def counted() -> tuple[Callable[[list[Tensor]], Tensor], list[int]]:
    passes: list[int] = []

    def forward(inputs: list[Tensor]) -> Tensor:
        passes.append(len(inputs[0]))
        return inputs[0] * 2

    return forward, passes


def rows(count: int) -> list[Tensor]:
    return [torch.ones(count, 3)]


def test_a_shape_is_recorded_when_it_comes_again_and_then_replayed(cuda: Cuda) -> None:
    forward, passes = counted()
    graphs = Graphs(CPU)
    outputs = [graphs.run(forward, rows(2)) for _ in range(4)]
    assert all(torch.equal(output, torch.full((2, 3), 2.0)) for output in outputs)
    assert passes == [2] * (1 + 3)  # once as it is; twice to warm up and once to record; then replayed
    assert len(graphs) == 1


def test_all_graphs_are_recorded_on_one_stream(cuda: Cuda) -> None:
    graphs, (forward, _) = Graphs(CPU), counted()
    for count in [1, 2, 3] * 2:
        graphs.run(forward, rows(count))
    assert len(graphs) == 3
    assert cuda.made == 1


def test_a_recording_that_fails_is_said_and_the_stream_is_as_before(
    cuda: Cuda, caplog: pytest.LogCaptureFixture
) -> None:
    graphs, (forward, passes) = Graphs(CPU), counted()
    cuda.fails = True
    for _ in range(3):
        with caplog.at_level(logging.WARNING):
            assert torch.equal(graphs.run(forward, rows(2)), torch.full((2, 3), 2.0))
    assert cuda.streams == ["default"]
    assert caplog.text.count("CUDA graphs are not used: operation not permitted") == 1
    assert passes == [2] * (1 + 3 + 1 + 1)
    assert not len(graphs)


def test_a_shape_that_comes_often_takes_the_place_of_a_rare_one(
    cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs_module, "MAX_GRAPHS", 2)
    graphs, (forward, passes) = Graphs(CPU), counted()
    for count in [1, 1, 1, 2, 2]:
        graphs.run(forward, rows(count))
    for uses in range(1, 6):
        graphs.run(forward, rows(3))
        assert (3 in {shape[0][0][0] for shape in graphs._recorded}) == (uses >= 4)
    assert {shape[0][0][0] for shape in graphs._recorded} == {1, 3}
    before = len(passes)
    graphs.run(forward, rows(3))
    assert len(passes) == before


def test_shapes_that_never_come_again_are_forgotten(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs_module, "MAX_SHAPES", 5)
    graphs, (forward, _) = Graphs(CPU), counted()
    for count in [1, 1, *range(2, 20)]:
        graphs.run(forward, rows(count))
    assert len(graphs._uses) <= 5
    assert len(graphs) == 1


def test_the_cache_is_not_emptied_during_a_recording(cuda: Cuda) -> None:
    graphs_module.empty_cache()
