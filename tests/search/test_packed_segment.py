"""A segment in few bytes: the same arrays, answers and rows, and no files of a few compressed memories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aios_db
from aios_db.schema.vector_codes import PRECISIONS, decode, encode
from aios_db.search import packing, saved, segment_files
from aios_db.search.coded_vectors import coded, decoded, is_cold
from aios_db.search.ranking import digest64

WORDS = "harbour mast ferry garden tomato piano nocturne lantern copper window river engine".split()  # noqa: SIM905


def texts(count: int) -> list[str]:
    chance = np.random.default_rng(1)
    return [f"{' '.join(chance.choice(WORDS, 6))} {number}" for number in range(count)]


@pytest.fixture
def database(tmp_path: Path, minilm_dir: Path) -> Callable[..., aios_db.Connection]:
    def opened(**search: Any) -> aios_db.Connection:
        config = {
            "engine": {"models_dir": str(minilm_dir.parent)},
            "search": search,
            "storage": {"keep_versions_s": 0.0},
            "links": {"reinforce_recalled": False},
        }
        return aios_db.connect(tmp_path / "agent.aios", config=config)

    return opened


def bytes_of(directory: Path) -> int:
    return sum(each.stat().st_size for each in directory.rglob("*") if each.is_file())


def answers(con: aios_db.Connection) -> list[Any]:
    return [
        [(hit.memory_id, round(hit.score, 6), hit.text) for hit in con.recall(text, 5)] for text in texts(5)
    ]


def test_every_vector_comes_back_bit_for_bit() -> None:
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(700, 40)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for number, precision in enumerate(PRECISIONS[1:], 1):
        some = slice(100 * number, 100 * number + 100)
        vectors[some] = decode(encode(vectors[some], precision), 40)
    vectors = vectors[chance.permutation(len(vectors))]
    kinds, data = coded(vectors)
    assert len(data) == 300 * 160 + 100 * (80 + 40 + 5)
    assert np.array_equal(decoded(kinds, data, 40), vectors)


def test_what_is_cold() -> None:
    whole = np.eye(300, 40, dtype=np.float32) + np.float32(0.1)
    signs, archived, short = (
        decode(encode(whole, "bits"), 40),
        *(np.full(300, digest64(each), np.uint64) for each in ("archived", "short")),
    )
    assert is_cold(signs, archived) and not is_cold(signs, short) and not is_cold(whole, archived)
    assert is_cold(np.zeros_like(whole), archived) and not is_cold(np.zeros_like(whole), short)
    assert not is_cold(whole[:0], archived[:0])
    mixed = np.concatenate([signs[:260], whole[260:]])
    assert not is_cold(mixed, archived)


def test_second_moments_of_signs_are_kept_as_counts() -> None:
    chance = np.random.default_rng(0)
    whole = chance.normal(size=(500, 40)).astype(np.float32)
    for vectors, names in (
        (decode(encode(whole, "bits"), 40), {"statistics_signs", "statistics_step"}),
        (whole, {"statistics_outer"}),
        (np.zeros((3, 40), np.float32), {"statistics_signs", "statistics_step"}),
    ):
        outer = (vectors.T.astype(np.float64)) @ vectors
        kept = packing._counted(outer, vectors)
        assert kept.keys() == names
        if len(names) > 1:
            np.testing.assert_allclose(packing._outer(*kept.values()), outer, 1e-9, 1e-9)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_arrays_come_back(tmp_path: Path, database: Callable[..., aios_db.Connection], count: int) -> None:
    with database(index="memory") as con:
        con.remember(texts(count))
        con.optimize()
        [segment] = con.store.index.parts
    (tmp_path / "a.zst").write_bytes(packing.pack(segment.arrays))
    again = packing.unpack(tmp_path / "a.zst")
    assert again.keys() == segment.arrays.keys()
    for name, array in segment.arrays.items():
        assert again[name].dtype == array.dtype and again[name].shape == array.shape, name
        if name.startswith("statistics"):
            np.testing.assert_allclose(again[name], array, 1e-9, 1e-9)
        else:
            assert np.array_equal(again[name], array), name


def test_a_compressed_database_has_a_small_index_that_answers_alike(
    tmp_path: Path, database: Callable[..., aios_db.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "_FEW_COLD", 100)
    directory = tmp_path / "agent.aios" / "index"
    with database(index="mapped") as con:
        con.remember(texts(1100))
        con.optimize()
        mapped = bytes_of(directory)
    with database() as con:
        con.execute("UPDATE memories SET tier = 'archived'")
        con.compress()
        found = answers(con)
        path = directory / segment_files.current(directory)
        assert {each.name for each in path.iterdir()} == {"arrays.zst", "rows.arrow", "segment.json"}
        assert bytes_of(directory) * 10 < mapped
    with database() as con:
        assert con.store.index.growing_rows == 0  # nothing was read of the tables
        assert answers(con) == found
        con.update(con.recall(texts(1)[0], 1)[0].memory_id, text="The lantern of copper.")
        assert con.recall("The lantern of copper.", 1)[0].text == "The lantern of copper."
    assert aios_db.check(tmp_path / "agent.aios").faults == ()
    for name in ("arrays.zst", "rows.arrow"):
        path = directory / segment_files.current(directory) / name
        path.write_bytes(path.read_bytes()[:-20] + bytes(20))
        with database() as con:
            assert len(con.recall("lantern", 3)) == 3
            con.optimize()


def test_a_few_compressed_memories_have_no_index_on_the_disk(
    tmp_path: Path, database: Callable[..., aios_db.Connection]
) -> None:
    directory = tmp_path / "agent.aios" / "index"
    with database() as con:
        con.optimize()
        assert bytes_of(directory) == 0  # of nothing there is none either
        con.remember(texts(60))
        con.optimize()
        assert 0 < bytes_of(directory) < 500_000  # without second moments, which are as large however few
        con.execute("UPDATE memories SET tier = 'archived'")
        con.compress()
        found = answers(con)
        assert bytes_of(directory) == 0
    with database() as con:
        assert answers(con) == found
        con.execute("UPDATE memories SET tier = 'short'")
        con.optimize()
        assert bytes_of(directory) > 0
    with database(index="mapped") as con:
        con.execute("UPDATE memories SET tier = 'archived'")
        con.compress()
        assert (directory / segment_files.current(directory) / "vectors.npy").exists()
