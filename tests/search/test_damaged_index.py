"""`index/` is derived: whatever is wrong with its files, the tables are read again, with a warning."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import aios_db
from aios_db.search import checksums
from aios_db.search.segment_files import current

WORDS = ["alpha", "bravo", "charlie", "delta"]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero_the_end(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def scramble(path: Path) -> None:
    path.write_bytes(bytes(byte ^ 0xA5 for byte in path.read_bytes()))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "agent.aios"
    with aios_db.connect(path) as con:
        con.remember(
            [
                {"text": word, "text_embedding": [float(n == m) for m in range(384)]}
                for n, word in enumerate(WORDS)
            ]
        )
        con.store.optimize()
    return path


def files(path: Path) -> list[str]:
    index = path / "index"
    return ["CURRENT", *(f"segment/{each.name}" for each in sorted((index / current(index)).iterdir()))]


@pytest.mark.parametrize("damage", [empty, halve, zero_the_end, scramble, Path.unlink])
def test_every_file_of_the_index_may_be_damaged(
    original: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    for name in files(original):
        path = tmp_path / name.replace("/", "-") / "agent.aios"
        shutil.copytree(original, path)
        index = path / "index"
        damaged = index / name.replace("segment", current(index), 1)
        before = damaged.read_bytes()
        damage(damaged)
        if damaged.exists() and damaged.read_bytes() == before:
            continue  # it was all zeros
        caplog.clear()
        with caplog.at_level(logging.WARNING, "aios_db"), aios_db.connect(path) as con:
            found = con.sql("SELECT memory_id FROM keyword_search('charlie', 3)").fetchall()
            texts = con.execute("SELECT text FROM memories ORDER BY text").fetchall()
            vector = [0.0, 0.0, 1.0] + [0.0] * 381
            nearest = con.execute("SELECT memory_id FROM vector_search(?, 1)", [vector]).fetchall()
        assert texts == [(word,) for word in WORDS], name
        assert len(found) == 1, name
        assert nearest == found, name
        if name != "CURRENT" or damaged.exists():
            assert "reading the tables again" in caplog.text, name


def test_a_deep_look_reads_every_byte(tmp_path: Path) -> None:
    big = tmp_path / "vectors.npy"
    big.write_bytes(bytes(100))
    sums = checksums.of_directory(tmp_path)
    checksums.verify(tmp_path, sums)
    big.write_bytes(bytes(99) + b"x")
    checksums.verify(tmp_path, sums, budget=50)  # too large to be read
    with pytest.raises(ValueError, match=r"vectors\.npy has other bytes"):
        checksums.verify(tmp_path, sums)
