"""Files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from aios_db.engine.weights.files import atomic_write, file_sha256


@pytest.mark.parametrize("forced", [False, True])
def test_a_file_is_replaced_whole(tmp_path: Path, forced: bool) -> None:
    path = tmp_path / "report.json"
    for text in ("first", "second"):
        with atomic_write(path, forced=forced) as part:
            part.write_text(text)
            assert not path.exists() or path.read_text() == "first"
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), atomic_write(path):
        pass  # nothing was written
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    path, texts = tmp_path / "choice.json", [letter * 100_000 for letter in "abcd"]

    def write(text: str) -> None:
        for _ in range(20):
            with atomic_write(path) as part:
                part.write_text(text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not path.exists() or path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_an_error_of_the_system_that_names_no_file_names_the_one_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "weights.parquet"
    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"), atomic_write(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())
