"""An encoder that takes long is waited for one call: by a statement's limit, an interrupt, and `close`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joint_world import COLOURS, pairs, picture, seen
from numpy.typing import NDArray

import aios_db
from aios_db.joint import reembedding
from aios_db.schema.errors import OperationalError

World = Callable[..., aios_db.Connection]

_GATE = 4  # calls


class Slow:
    """An encoder that takes long once it has passed its gate; it counts the pictures since."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.calls, self.pictures = seconds, 0, 0

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls > _GATE:
            self.pictures += len(pictures)
            time.sleep(self.seconds)
        return seen(pictures)


def registered(con: aios_db.Connection, seconds: float) -> Slow:
    """Let a connection use such an encoder."""
    slow = Slow(seconds)
    con.register_encoder("quarters", "image", 12, slow, size=32, batch=9)
    return slow


@pytest.fixture
def waiting(world: World, tmp_path: Path) -> World:
    """Open a database without encoders in which 40 pictures are still to be put into the space."""

    def connect(**options: Any) -> aios_db.Connection:
        config = {
            "engine": {"models_dir": str(tmp_path / "models")},
            "device": {"target": "cpu"},
            "cpu": {"backend": "standard"},
            "storage": {"maintenance_delay_s": 0.01},
        }
        return aios_db.connect(tmp_path / "agent.aios", config=config, **options)

    with world() as con:
        con.fit_fusion(pairs())
    with connect() as con:
        con.remember([{"image": picture(colour, 70 + n)} for n in range(5) for colour in COLOURS])
    return connect


def test_close_waits_for_one_call_and_the_next_process_goes_on(
    waiting: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembedding, "_LONG_S", 0.5)
    with waiting() as con:
        slow = registered(con, 0.2)  # after which the thread of maintenance begins
        while slow.pictures < 8 * 9:
            time.sleep(0.05)
    assert slow.pictures < 40 * 9
    with waiting() as con:
        slow = registered(con, 0.0)
        con.optimize()
        assert slow.pictures < 40 * 9  # some lay beside
        assert con.execute("SELECT count(*) FROM memories WHERE joint_embedding IS NULL").fetchone() == (0,)


def test_a_statement_ends_after_the_call_that_it_is_in(waiting: World) -> None:
    with waiting(timeout_s=1.0, read_only=True) as con:
        slow = registered(con, 0.3)
        with pytest.raises(OperationalError, match="stopped after 1 s"):
            con.execute("SELECT embed_quarters(media) FROM memories").fetchall()
        assert slow.pictures < 20 * 9


def test_an_encoder_that_was_not_waited_for_is_not_missing(waiting: World) -> None:
    with waiting(timeout_s=1.0) as con:
        con.execute("SELECT count(*) FROM memories").fetchall()
        registered(con, 0.3)
        with pytest.raises(OperationalError, match="stopped after 1 s"):
            con.execute(
                "INSERT INTO memories (text, media) SELECT 'again ' || memory_id, media FROM memories"
            )
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (40,)
