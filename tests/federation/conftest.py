from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aios_db.federation.client import FederationClient
from aios_db.federation.hub import Hub
from aios_db.federation.library import CardLibrary
from aios_db.federation.server import FederationServer
from aios_db.memory_store import MemoryStore
from aios_db.schema.config import Config, StorageConfig

CONFIG = Config(storage=StorageConfig(dimension=4, durability="normal"))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Callable[[str], CardLibrary]]:
    """Open databases by name, each with its cards."""
    stores: dict[str, MemoryStore] = {}

    def open_(name: str) -> CardLibrary:
        if name not in stores:
            stores[name] = MemoryStore.open(tmp_path / f"{name}.aios", config=CONFIG)
        return CardLibrary(stores[name])

    yield open_
    for store in stores.values():
        store.close()


@pytest.fixture
def server(library: Callable[[str], CardLibrary]) -> Iterator[FederationServer]:
    serving = FederationServer(Hub(library("server")))
    yield serving
    serving.shutdown()


@pytest.fixture
def client(
    server: FederationServer, library: Callable[[str], CardLibrary]
) -> Iterator[Callable[..., FederationClient]]:
    """Connect agents by name to the server."""
    made: list[FederationClient] = []

    def connect(name: str, location: str | None = None, **options: object) -> FederationClient:
        made.append(FederationClient(location or server.location, library(name), **options))  # type: ignore[arg-type]
        return made[-1]

    yield connect
    for each in made:
        each.close()
