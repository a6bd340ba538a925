"""Many small matrix products: one thread for each of them."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from aios_db.engine.backends.blas import each_in_a_thread, single_threaded
from aios_db.engine.fusion.fitting import fit
from aios_db.engine.fusion.pairs import Pairs, Rows


def blas_threads() -> int:
    return max(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")


def test_answers_come_in_the_order_of_the_items() -> None:
    assert each_in_a_thread(lambda n: float((np.eye(n) @ np.ones((n, 2))).sum()), range(9)) == [
        2.0 * n for n in range(9)
    ]


def test_products_have_one_thread_inside_and_all_of_them_again_behind() -> None:
    with threadpool_limits(2, user_api="blas"):
        with single_threaded(), single_threaded():
            assert blas_threads() == 1
        assert blas_threads() == 2


def test_a_fit_of_a_joint_space_has_one_thread_a_product() -> None:
    random, items = np.random.default_rng(0), np.arange(40)
    said = random.normal(size=(40, 6)).astype(np.float32)
    shown = said @ random.normal(size=(6, 9)).astype(np.float32)
    seen = []
    with threadpool_limits(2, user_api="blas"):
        fit(
            Pairs({"text": Rows(said, items), "image": Rows(shown, items)}, items, items),
            {"text": "t", "image": "i"},
            progress=lambda *_: seen.append(blas_threads()),
        )
        assert seen
        assert set(seen) == {1}
        assert blas_threads() == 2
