"""Vectors by another weight version: recall stays right throughout, and a kill anywhere costs nothing."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from aios_db.encoder import LazyEncoder
from aios_db.memory_store import MemoryStore
from aios_db.models import reembedding
from aios_db.models.activation import BackgroundActivation, activate
from aios_db.models.reembedding import Reembedding
from aios_db.schema.config import Config, EngineConfig, StorageConfig
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.retrieval import RowIds

ROOT = Path(__file__).parents[2]
SENTENCES = [
    "The spare key lies under the blue pot.", "Tom is allergic to peanuts.", "The train leaves at seven.",
    "We painted the kitchen green.", "Anna plays the cello in an orchestra.", "The server ran out of memory.",
    "The cat is called Pixel.", "Rent is due on the first of the month.", "The lake freezes in January.",
    "He proposed at the top of the lighthouse.", "The vaccine must be kept cold.", "Leo starts school soon.",
]  # fmt: skip


class SeededEncoder:
    """A deterministic encoder of which any number of versions exist."""

    dimension = 8

    def __init__(self, version: str) -> None:
        self.version = version
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return np.stack([self.vector(text) for text in texts])

    def vector(self, text: str) -> NDArray[np.float32]:
        seed = int.from_bytes(hashlib.sha256(f"{self.version}|{text}".encode()).digest()[:8], "little")
        made = np.random.default_rng(seed).normal(size=self.dimension)
        return (made / np.linalg.norm(made)).astype(np.float32)


OLD, NEW = "seeded@000000000001", "seeded@000000000002"


def seeded_store(path: Path, version: str = OLD) -> MemoryStore:
    return MemoryStore.open(
        path, config=Config(storage=StorageConfig(dimension=8)), encoder=SeededEncoder(version)
    )


def vectors(store: MemoryStore) -> dict[str, tuple[str | None, list[float]]]:
    rows = store.memories.to_table(columns=["text", "text_weight_version", "text_embedding"]).to_pylist()
    return {row["text"]: (row["text_weight_version"], row["text_embedding"]) for row in rows}


def expected(texts: Sequence[str], version: str = NEW) -> dict[str, tuple[str, list[float]]]:
    encoder = SeededEncoder(version)
    return {text: (version, encoder.vector(text).tolist()) for text in texts}


TEXTS = [f"memory number {number}" for number in range(150)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(reembedding, "BATCH", 40)
    store = seeded_store(tmp_path / "agent.aios")
    store.remember(pa.table({"text": TEXTS}))
    yield store
    store.close()


def test_all_vectors_are_exchanged_in_one_commit_and_found_by_the_index(store: MemoryStore) -> None:
    before, seen = store.memories.version, []
    count = Reembedding(store, SeededEncoder(NEW)).run(lambda *step: seen.append(step[1:]))
    assert count == 150 and store.memories.version == before + 1
    assert vectors(store) == expected(TEXTS)
    assert seen == [(40, 150), (80, 150), (120, 150), (150, 150), (150, 150)]
    assert not list(store.path.glob("reembed_*"))
    query = SeededEncoder(NEW).vector(TEXTS[77])
    hits = store.index.vector_search(query, 1)
    assert hits.scores[0] == pytest.approx(1, abs=1e-5)
    assert texts_of(store, hits.row_ids) == [TEXTS[77]]


@pytest.mark.parametrize("reopens", [False, True])
def test_an_optimized_table_exchanges_its_vectors_and_the_index_follows(
    store: MemoryStore, reopens: bool
) -> None:
    store.optimize()  # Lance then writes the columns anew beside the old ones, in the same fragments
    Reembedding(store, SeededEncoder(NEW)).run()
    if reopens:
        store.close()
        store = seeded_store(store.path, NEW)
    query = SeededEncoder(NEW).vector(TEXTS[77])
    hits = store.index.vector_search(query, 1)
    assert hits.scores[0] == pytest.approx(1, abs=1e-5)
    assert texts_of(store, hits.row_ids) == [TEXTS[77]]
    store.close()


def test_until_the_exchange_every_vector_is_the_old_one(store: MemoryStore) -> None:
    states = []
    Reembedding(store, SeededEncoder(NEW)).run(
        lambda *step: states.append({version for version, _ in vectors(store).values()})
    )
    assert states == [{OLD}] * 4 + [{NEW}]


def test_stopped_it_goes_on_with_what_is_missing(store: MemoryStore) -> None:
    stop, first = threading.Event(), SeededEncoder(NEW)
    assert Reembedding(store, first).run(lambda *step: stop.set(), stop) == -1
    assert vectors(store) == expected(TEXTS, OLD) and len(first.texts) == 40
    second = SeededEncoder(NEW)
    assert Reembedding(store, second).run() == 150
    assert len(second.texts) == 110 and not set(first.texts) & set(second.texts)
    assert vectors(store) == expected(TEXTS)


def test_what_is_remembered_and_forgotten_meanwhile_is_right(store: MemoryStore) -> None:
    ids = store.memories.to_table(columns=["memory_id", "text"])
    first = {text: id_ for id_, text in zip(*(column.to_pylist() for column in ids.columns), strict=True)}

    def meanwhile(doing: str, done: int, total: int) -> None:
        if done == 80:
            store.remember(pa.table({"text": ["new while it ran"]}))
            store.forget([first[TEXTS[0]]])

    assert Reembedding(store, SeededEncoder(NEW)).run(meanwhile) == 150
    assert vectors(store) == expected([*TEXTS[1:], "new while it ran"])


def test_again_it_has_nothing_to_do(store: MemoryStore) -> None:
    Reembedding(store, SeededEncoder(NEW)).run()
    version, encoder = store.memories.version, SeededEncoder(NEW)
    assert Reembedding(store, encoder).run() == 0
    assert encoder.texts == [] and store.memories.version == version


def test_memories_without_text_keep_their_vector(store: MemoryStore) -> None:
    given = SeededEncoder("mine@000000000000").vector("x")
    store.remember(
        pa.table({"text": [""], "media_uri": ["file:///a.png"], "text_embedding": [given.tolist()]})
    )
    assert Reembedding(store, SeededEncoder(NEW)).run() == 150
    assert vectors(store)[""][1] == given.tolist()


def test_another_dimension_is_refused(store: MemoryStore) -> None:
    wide = SeededEncoder(NEW)
    wide.dimension = 16  # type: ignore[misc]
    with pytest.raises(ProgrammingError, match="vectors of 16 numbers, this database stores 8"):
        Reembedding(store, wide).run()


_KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from test_reembedding import NEW, SeededEncoder, seeded_store
from aios_db.models import reembedding
from aios_db.models.reembedding import Reembedding

reembedding.BATCH = 40
calls = 0
step = int(sys.argv[3])
store = seeded_store(Path(sys.argv[2]))
exchange = store.replace_vectors

def die():
    print("dies", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def progress(doing, done, total):
    global calls
    calls += 1
    if calls == step:
        die()

def replace_vectors(replacement):
    def watched(memories):
        rows = replacement(memories)
        if step == 101:
            die()
        return rows
    count = exchange(watched)
    if step == 102:
        die()
    return count

store.replace_vectors = replace_vectors
Reembedding(store, SeededEncoder(NEW)).run(progress)
"""


def test_killed_at_each_step_it_finishes_when_run_again(store: MemoryStore, tmp_path: Path) -> None:
    store.close()
    successes = 0
    steps = [1, 2, 3, 4, 101, 102]  # after each batch, before and after the exchange
    for step in steps:
        path = shutil.copytree(store.path, tmp_path / "killed")
        command = [sys.executable, "-c", _KILLED, str(Path(__file__).parent), str(path), str(step)]
        run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
        assert run.returncode == -signal.SIGKILL and run.stdout == "dies\n", run.stderr
        again = seeded_store(path)
        assert vectors(again) == expected(TEXTS, NEW if step == 102 else OLD)  # never a mixture
        Reembedding(again, SeededEncoder(NEW)).run()
        assert vectors(again) == expected(TEXTS)
        again.close()
        successes += 1
        shutil.rmtree(path)
    assert successes == len(steps) == 6


@pytest.fixture(scope="module")
def models(
    minilm_dir: Path, rounded: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """MiniLM as it was published, and its weights in float16."""
    place = tmp_path_factory.mktemp("models")
    return {"fp32": minilm_dir, "fp16": rounded(minilm_dir, place / "minilm-fp16", "fp16")}


def real_store(path: Path, model: Path, **options: Any) -> MemoryStore:
    config = Config(engine=EngineConfig(text_model=str(model)))
    return MemoryStore.open(path, config=config, encoder=LazyEncoder(config), **options)


def texts_of(store: MemoryStore, row_ids: RowIds) -> list[str]:
    """The texts that the table holds under these row ids."""
    texts: list[str] = store.memories._take_rows(row_ids.tolist(), columns=["text"])["text"].to_pylist()
    return texts


def answers(store: MemoryStore) -> list[str]:
    """What the nearest memory to each question is, asked as `recall` does."""
    store.refresh()
    found = []
    for question in ("Where is the key?", "Who must not eat nuts?", "What is the pet's name?"):
        hits = store.index.vector_search(store.encoder.encode([question])[0], 1)
        found += texts_of(store, hits.row_ids)
    return found


RIGHT = [SENTENCES[0], SENTENCES[1], SENTENCES[6]]


def test_two_versions_of_minilm_and_two_processes_views(models: dict[str, Path], tmp_path: Path) -> None:
    writer = real_store(tmp_path / "agent.aios", models["fp32"])
    writer.remember(pa.table({"text": SENTENCES}))
    old = writer.encoder.version
    active = writer.versions.active()
    assert active is not None and active.version == old and active.quant_type == "fp32"
    reader = real_store(tmp_path / "agent.aios", models["fp32"], read_only=True)  # as another process has it
    assert answers(reader) == RIGHT

    job = BackgroundActivation(writer, models["fp16"])
    while not job.wait(0.01):
        assert answers(writer) == RIGHT  # before, between and after
    assert job.error is None and (job.done, job.total) == (12, 12)

    new = writer.versions.active()
    assert new is not None and new.name == "minilm-fp16" and new.quant_type == "fp16"
    assert [each.is_active for each in writer.versions.all()] == [False, True]
    for store in (writer, reader):
        assert answers(store) == RIGHT
        assert store.encoder.version == new.version != old
        rows = store.memories.to_table(columns=["text_weight_version"])["text_weight_version"].to_pylist()
        assert set(rows) == {new.version}
    writer.remember(pa.table({"text": ["The bicycle has a flat tyre."]}))
    assert {version for version, _ in vectors(writer).values()} == {new.version}

    later = real_store(tmp_path / "agent.aios", models["fp32"])  # the configuration still names the old one
    assert later.encoder.version == new.version
    assert activate(later, models["fp32"]).version == old  # and back
    assert answers(writer) == answers(later) == RIGHT and writer.encoder.version == old
    for store in (writer, reader, later):
        store.close()


def test_vectors_made_for_a_version_that_was_replaced_meanwhile_are_made_again(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aios_db.store import embedding as store_module

    first = real_store(tmp_path / "agent.aios", models["fp32"])
    first.remember(pa.table({"text": SENTENCES}))
    second = real_store(tmp_path / "agent.aios", models["fp32"])
    embed_missing, calls = store_module.embed_missing, []

    def slow(*arguments: Any) -> pa.Table:
        rows = embed_missing(*arguments)
        if not calls:  # between the embedding and the lock, another process activates a version
            calls.append(activate(first, models["fp16"]))
        return rows

    monkeypatch.setattr(store_module, "embed_missing", slow)
    second.remember(pa.table({"text": ["Just in between."]}))
    second.refresh()
    assert {version for version, _ in vectors(second).values()} == {calls[0].version}
    first.close()
    second.close()


_HOLDER = """
import sys
from pathlib import Path
from aios_db.disk.lease import lease
from aios_db.schema.database import REEMBEDDING

with lease(Path(sys.argv[1]) / REEMBEDDING):
    print("holds", flush=True)
    sys.stdin.readline()
"""


def test_two_processes_activate_one_after_the_other(models: dict[str, Path], tmp_path: Path) -> None:
    store = real_store(tmp_path / "agent.aios", models["fp32"])
    store.remember(pa.table({"text": SENTENCES}))
    old = store.encoder.version
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(store.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == "holds\n"
    stopped = BackgroundActivation(store, models["fp16"])
    assert not stopped.wait(0.5)
    stopped.stop()  # while it waits
    job = BackgroundActivation(store, models["fp16"])
    assert not job.wait(0.5) and stopped.error is None
    assert {version for version, _ in vectors(store).values()} == {old}
    holder.communicate()
    assert job.wait() and job.error is None
    assert {version for version, _ in vectors(store).values()} == {store.encoder.version} != {old}
    store.close()
