"""The log of recalls: what is torn or damaged costs counts at most, and it follows the memories."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aios_db.search.keys import digests_of
from aios_db.store.recalls import Recalls


def everything(digests: np.ndarray) -> np.ndarray:
    return np.ones(len(digests), np.bool_)


def counts(recalls: Recalls, *names: str) -> list[int]:
    rows = pa.record_batch(
        {"memory_id": pa.array(names, pa.string()), "access_count": pa.array([0] * len(names), pa.int64())}
    )
    found: list[int] = recalls.with_counts(rows)["access_count"].to_pylist()
    return found


def filled(path: Path) -> Recalls:
    recalls = Recalls(path)
    for names in (["a", "b"], ["b", "c"], ["b"]):
        recalls.add(names)
        recalls.flush(everything)
    return recalls


def test_counts_are_read_again(tmp_path: Path) -> None:
    first = filled(tmp_path / "recalls.log")
    second = Recalls(tmp_path / "recalls.log")
    assert counts(first, "a", "b", "c", "d") == counts(second, "a", "b", "c", "d") == [1, 3, 1, 0]
    assert second.pairs == 2
    first.add(["d", "a"])
    assert counts(first, "d") == [1]
    assert counts(second, "d") == [0]
    first.flush(everything)
    second.refresh()
    assert counts(second, "d", "a") == [1, 2]


@pytest.mark.parametrize("cut", range(1, 52, 7))
def test_a_torn_record_is_ignored_and_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "recalls.log"
    filled(path)
    path.write_bytes(path.read_bytes()[:-cut])
    recalls = Recalls(path)
    assert counts(recalls, "a", "b", "c") == [1, 2, 1]
    recalls.add(["c"])
    recalls.flush(everything)
    assert counts(Recalls(path), "a", "b", "c") == [1, 2, 2]


def test_damage_of_any_byte_costs_counts_at_most(tmp_path: Path) -> None:
    path = tmp_path / "recalls.log"
    filled(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        recalls = Recalls(path)
        assert all(
            found <= most for found, most in zip(counts(recalls, "a", "b", "c"), (1, 3, 1), strict=True)
        )
        recalls.add(["new"])
        recalls.flush(everything)
        assert counts(Recalls(path), "new") == [1]


def test_the_log_follows_the_memories_and_not_the_recalls(tmp_path: Path) -> None:
    recalls = Recalls(tmp_path / "recalls.log")
    names = [f"memory {number}" for number in range(200)]
    sizes = []
    for number in range(3000):
        recalls.add(names[number % 200 : number % 200 + 10])
        recalls.flush(everything)
        sizes.append((tmp_path / "recalls.log").stat().st_size)
    assert max(sizes) < 120_000
    assert sum(counts(Recalls(tmp_path / "recalls.log"), *names)) == sum(counts(recalls, *names)) > 28_000


def test_what_was_forgotten_leaves_the_log(tmp_path: Path) -> None:
    recalls = Recalls(tmp_path / "recalls.log")
    (kept,) = digests_of(["kept"])
    for number in range(2000):
        recalls.add([f"memory {number}", "kept"])
        recalls.flush(lambda digests: digests == kept)
    assert (tmp_path / "recalls.log").stat().st_size < 40_000
    assert counts(Recalls(tmp_path / "recalls.log"), "kept", "memory 7") == [2000, 0]


def test_pairs_are_taken_once(tmp_path: Path) -> None:
    first, second = filled(tmp_path / "recalls.log"), Recalls(tmp_path / "recalls.log")
    pairs = second.take_pairs()
    assert sum(pairs.values()) == 2
    assert not first.take_pairs()
    first.back(pairs)
    first.flush(everything)
    second.refresh()
    assert second.take_pairs() == pairs
    assert counts(second, "a", "b", "c") == [1, 3, 1]


def _count(path: Path, name: str) -> None:
    recalls = Recalls(path)
    for _ in range(100):
        recalls.add([name, "all"])
        recalls.flush(everything)


def test_processes_append_to_one_log(tmp_path: Path) -> None:
    path = tmp_path / "recalls.log"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count, args=(path, name)) for name in ("a", "b", "c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert counts(Recalls(path), "a", "b", "c", "all") == [100, 100, 100, 300]
