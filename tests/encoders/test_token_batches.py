"""Rows of tokens are run at once, but for a statement in steps, after which it can be stopped."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aios_db.engine.backends.protocol import Arrays
from aios_db.engine.encoders.token_batches import TokenBatches
from aios_db.schema.deadlines import Deadlines
from aios_db.schema.errors import OperationalError

ROWS = [[1, 2, 3, 4]] * 1000
MODEL: Any = SimpleNamespace(config={"vocab_size": 10})


def test_what_a_statement_embeds_is_stopped_within_a_text() -> None:
    batches, ran = TokenBatches(MODEL, 2, 8, 8, masked=False), []

    def run(given: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        ran.append(len(given))
        return [np.ones((len(ids), 2), np.float32) for (ids,) in given]

    whole = batches.vectors(ROWS, run, on_cpu=True)
    assert len(ran) == 1 and whole.shape == (1000, 2)
    with Deadlines().running(600):
        assert (batches.vectors(ROWS, run, on_cpu=True) == whole).all()
    assert ran[0] == sum(ran[1:]) and len(ran) > 3
    ran.clear()
    with Deadlines().running(600) as deadline:

        def interrupted(given: Sequence[Arrays]) -> list[NDArray[np.float32]]:
            deadline.interrupt()
            return run(given)

        with pytest.raises(OperationalError, match="interrupted"):
            batches.vectors(ROWS, interrupted, on_cpu=True)
    assert len(ran) == 1
    assert batches.vectors([], run, on_cpu=True).shape == (0, 2)
