"""An import is one change in the log, however many batches it has, and is undone as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aios_db
from aios_db.config import Config
from aios_db.importers import import_files, run
from aios_db.schema.config import EngineConfig, StorageConfig

CONFIG = Config(
    storage=StorageConfig(dimension=8, durability="normal"), engine=EngineConfig(models_dir="/nowhere")
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(run, "BATCH_ROWS", 4)
    paths = []
    for name in ("one", "two"):
        paths.append(tmp_path / f"{name}.jsonl")
        rows = [
            {"text": f"{name} {each}", "text_embedding": np.eye(8)[each % 8].tolist(), "session_id": name}
            for each in range(10)
        ]
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return paths


def _state(con: aios_db.Connection) -> list[Any]:
    links = con.execute("SELECT count(*) FROM association_links").fetchone()
    return [con.execute("SELECT text FROM memories ORDER BY text").fetchall(), links]


def test_it_is_undone_as_a_whole(files: list[Path], tmp_path: Path) -> None:
    with aios_db.connect(tmp_path / "agent.aios", config=CONFIG) as con:
        con.remember([{"text": "before", "text_embedding": np.eye(8)[0].tolist()}])
        before = _state(con)
        import_files(con, files)
        after = _state(con)
        (change, first) = con.history()
        assert (change.change_id, change.call, change.added, change.complete) == (2, "import", 20, True)
        assert first.memories_after == change.memories_before
        con.undo(change)
        assert _state(con) == before
        con.undo(con.history()[0])
        assert _state(con) == after
        assert [each.change_id for each in con.history()] == [4, 3, 2, 1]


def test_what_others_write_in_between_is_a_change_of_its_own(files: list[Path], tmp_path: Path) -> None:
    with (
        aios_db.connect(tmp_path / "agent.aios", config=CONFIG) as con,
        aios_db.connect(tmp_path / "agent.aios", config=CONFIG) as other,
    ):
        written = []

        def once(*_: Any) -> None:
            if not written:
                vector = np.eye(8)[0].tolist()
                written.append(other.remember([{"text": "of another", "text_embedding": vector}]))

        import_files(con, files, progress=once)
        told = [(each.call, each.added) for each in con.history()[::-1]]
        assert told == [("import", 4), ("remember", 1), ("import", 16)]
        con.undo(3)
        con.undo(1)
        assert _state(con)[0] == [("of another",)]


def test_the_next_one_finishes_the_batch_that_breaks_off(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent.aios"
    with aios_db.connect(path, config=CONFIG) as con:
        end = con.store.change_log.end
        ends: list[Any] = []

        def end_unless_killed(*arguments: Any, **options: Any) -> None:
            ends.append(arguments)
            if len(ends) < 3:
                end(*arguments, **options)
            else:
                raise KeyboardInterrupt  # as if the process ended there: nothing is logged

        monkeypatch.setattr(con.store.change_log, "end", end_unless_killed)
        with pytest.raises(KeyboardInterrupt):
            import_files(con, files)
        con.store.abandon()
    with aios_db.connect(path, config=CONFIG) as con:
        con.remember([{"text": "later", "text_embedding": np.eye(8)[0].tolist()}])
        told = [(each.change_id, each.call, each.complete) for each in con.history()[::-1]]
        assert told == [(1, "import", True), (2, "remember", True)]
        con.undo(1)
        assert _state(con)[0] == [("later",)]
