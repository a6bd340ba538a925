"""One copy of a model for all connections of a process."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from pathlib import Path

import numpy as np

import aios_db
from aios_db.config import Config
from aios_db.encoder import LazyEncoder
from aios_db.engine.encoders.sharing import SharedEngines
from aios_db.schema.config import DEFAULTS


def take(shared: SharedEngines, directory: Path) -> aios_db.ArrowEngine:
    return shared.take(directory, DEFAULTS.engine, DEFAULTS.cpu, DEFAULTS.device, DEFAULTS.validation)


def test_the_last_who_gives_it_back_closes_it(minilm_dir: Path) -> None:
    shared = SharedEngines()
    first, second = take(shared, minilm_dir), take(shared, minilm_dir)
    assert first is second
    expected = first.encode(["a lamp"])
    shared.give_back(first)
    assert np.array_equal(second.encode(["a lamp"]), expected)
    shared.give_back(second)
    third = take(shared, minilm_dir)
    assert third is not first
    shared.give_back(third)


def test_a_directory_that_has_changed_is_opened_anew(minilm_dir: Path) -> None:
    shared = SharedEngines()
    first = take(shared, minilm_dir)
    state = os.stat(minilm_dir / "metadata.json")
    try:
        os.utime(minilm_dir / "metadata.json", (state.st_atime, state.st_mtime + 1))
        second = take(shared, minilm_dir)
        assert second is not first
        shared.give_back(second)
    finally:
        os.utime(minilm_dir / "metadata.json", ns=(state.st_atime_ns, state.st_mtime_ns))
        shared.give_back(first)


def test_what_nobody_gives_back_goes_with_its_last_user(minilm_dir: Path) -> None:
    shared = SharedEngines()
    gone = weakref.ref(take(shared, minilm_dir))
    gc.collect()
    assert gone() is None
    assert take(shared, minilm_dir) is not None


def test_a_closed_encoder_leaves_no_weights_to_the_garbage_collector(minilm_dir: Path) -> None:
    shared = SharedEngines()
    engine = take(shared, minilm_dir)
    engine._session.settle()
    assert engine.encode(["a lamp"]).shape == (1, 384)
    runner = weakref.ref(engine._session._cpu.runner(items=1))
    gc.collect()
    gc.disable()
    try:
        shared.give_back(engine)
        assert runner() is None
    finally:
        gc.enable()


def test_connections_of_many_threads_share_a_model_and_close_in_any_order(
    minilm_dir: Path, tmp_path: Path
) -> None:
    del minilm_dir  # it is there
    engines: set[int] = set()
    wrong: list[object] = []
    ready = threading.Barrier(4, timeout=120)

    def work(number: int) -> None:
        try:
            with aios_db.connect(tmp_path / f"{number}.aios", config=Config()) as con:
                con.remember("the lamp is red")
                encoder = con.store.encoder
                assert isinstance(encoder, LazyEncoder)
                engines.add(id(encoder._load()))
                ready.wait()
                for _ in range(number):
                    assert con.recall("lamp", k=1)[0].text == "the lamp is red"
        except BaseException as error:
            wrong.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    assert len(engines) == 1
