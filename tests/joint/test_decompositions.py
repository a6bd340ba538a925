"""The decompositions of a fit: as exact as a whole one, and made once for all strengths that share them."""

from __future__ import annotations

import numpy as np
import pytest

from aios_db.engine.fusion import closed_form, preparing
from aios_db.engine.fusion.closed_form import Side, canonical
from aios_db.engine.fusion.pairs import Pairs, Rows
from aios_db.engine.fusion.preparing import Prepared, Strength


def _rows(seed: int, count: int, width: int, rank: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    found = random.normal(size=(count, rank)) @ random.normal(size=(rank, width))
    return found - found.mean(0)


@pytest.mark.parametrize(("widths", "rank"), [((30, 12), 12), ((12, 30), 12), ((30, 12), 3), ((90, 70), 40)])
def test_canonical_directions_are_those_of_a_whole_decomposition(widths: tuple[int, int], rank: int) -> None:
    left, right = (Side(_rows(seed, 50, width, rank)) for seed, width in enumerate(widths))
    found = canonical(left, right, right.rows, (3.0, 1.0), 8)
    deviations = np.sqrt(left.variances(3.0)), np.sqrt(right.variances(1.0))
    cross = (left.turned / deviations[0]).T @ (right.turned / deviations[1]) / 50
    u, values, v = np.linalg.svd(cross, full_matrices=False)
    whole = left.directions / deviations[0] @ (u[:, :8] * values[:8] ** 2) @ v[:8]
    assert np.allclose(found.correlations, values[:8], atol=1e-7)
    assert np.allclose(found.left @ found.right.T, (whole / deviations[1]) @ right.directions.T, atol=1e-9)


def test_strengths_share_what_does_not_depend_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    whole, kernels = np.linalg.eigh, closed_form.Landmarks
    monkeypatch.setattr(np.linalg, "eigh", lambda rows: made.append(rows.shape) or whole(rows))
    fitted: list[int] = []
    monkeypatch.setattr(preparing, "Landmarks", lambda *given: fitted.append(1) or kernels(*given))
    items = np.arange(60)
    texts = Rows(_rows(0, 100, 16, 16).astype(np.float32), np.repeat(items[:50], 2))
    pictures = Rows(_rows(1, 60, 90, 20).astype(np.float32), items)
    prepared = Prepared(Pairs({"text": texts, "image": pictures}, items, items))
    for ridge in (1.0, 3.0, 10.0):
        for nearest in (False, True):
            prepared.space({"image": Strength((ridge, 1.0), nearest)}, {"text": "t", "image": "i"})
    assert made.count((50, 50)) == 1  # the ten pictures without a text are left out, once
    assert len(fitted) == 1
    assert made.count((16, 16)) == 1 + 3 * 3  # texts once; each ridge: of means, and two rounds of nearest
