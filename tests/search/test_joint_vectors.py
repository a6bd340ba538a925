"""Vectors of the joint space that change, and a copy of them that does not."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pyarrow as pa
import pytest

from aios_db.schema.modalities import BITS
from aios_db.search import joint
from aios_db.search.joint import JointArrays, JointVectors

VERSION = "joint@00000f000000"


def put(vectors: JointVectors, rows: list[int], values: list[float | None], version: str = VERSION) -> None:
    given = [None if value is None else [value, 1.0] for value in values]
    batch = pa.RecordBatch.from_pydict(
        {
            "_rowid": pa.array(rows, pa.uint64()),
            "joint_embedding": pa.array(given, pa.list_(pa.float32(), 2)),
            "joint_hubness": pa.array(given, pa.list_(pa.float32(), 2)),
            "joint_weight_version": [version] * len(rows),
            "modalities": [["image"]] * len(rows),
        }
    )
    vectors.put(batch)


def told(vectors: JointVectors) -> list[list[object]]:
    arrays = vectors.arrays()
    there = arrays.sets > 0
    return [arrays.rows[there].tolist(), arrays.vectors[there].tolist(), arrays.sets[there].tolist()]


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    ("rows", "values"),
    [([7], [3.0]), ([1], [3.0]), ([1], [1.0]), ([2], [None]), ([1, 2, 3, 9], [1.0, None, 5.0, 6.0])],
    ids=["new", "other", "the same", "none", "all of it"],
)
def test_a_copy_changes_and_the_original_does_not(saved, rows, values):
    vectors = JointVectors(JointArrays.empty())
    put(vectors, [1, 2, 3], [1.0, 2.0, 4.0])
    if saved:
        arrays = vectors.arrays()
        for each in (arrays.rows, arrays.vectors, arrays.sets):
            each.flags.writeable = False
        vectors = JointVectors(arrays)
    before = told(vectors)
    first, second = vectors.copy(), vectors.copy()  # the first is given up
    put(first, [8, 1, 3], [9.0, 9.0, None])
    put(second, rows, values)
    assert told(vectors) == before
    wanted = {1: 1.0, 2: 2.0, 3: 4.0} | dict(zip(rows, values, strict=True))
    now = dict(zip(*told(second)[:2], strict=True))
    assert now == {row: [value, 1.0] * 2 for row, value in wanted.items() if value is not None}
    assert np.all(np.array(told(second)[2]) == BITS["image"])


def test_a_question_lets_go_of_the_vectors_of_an_earlier_space(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = JointVectors(JointArrays.empty())
    put(vectors, [1], [1.0])
    before = weakref.ref(vectors._arrays.vectors)
    put(vectors, [1], [2.0], "joint@00000e000000")
    question = np.zeros((8, 4), np.float32)
    vectors.scores(question)
    gc.collect()
    assert before() is not None  # for what is on its way
    monkeypatch.setattr(joint, "EARLIER_S", 0.0)
    vectors.scores(question)
    gc.collect()
    assert before() is None
