"""A pipe in the place of a file keeps nobody waiting: it is refused, or passed over, before it is opened."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import aios_db
from aios_db.config import load_config
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.joint.pairs import items_of
from aios_db.schema.config import Config

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name"),
    pytest.mark.timeout(60),
]
FILES = [
    "aios.json",
    "changes.log",
    "changes.begun",
    "recalls.log",
    "tokenizers.json",
    "index/CURRENT",
    "links.owed",
]
CALLS: dict[str, Callable[[Path], object]] = {
    "connect": aios_db.connect,
    "check": aios_db.check,
    "repair": aios_db.repair,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", FILES)
def test_a_pipe_in_a_database_is_refused(tmp_path: Path, name: str, call: str) -> None:
    path = tmp_path / "a.aios"
    aios_db.connect(path).close()
    (path / name).unlink(missing_ok=True)
    (path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(path / name)
    with pytest.raises(aios_db.OperationalError, match=f"{name} is a pipe"):
        CALLS[call](path)


def test_a_link_to_a_device_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.aios"
    aios_db.connect(path).close()
    (path / "queries.log").symlink_to("/dev/zero")
    with pytest.raises(aios_db.OperationalError, match=r"queries.log is a pipe"):
        aios_db.connect(path)
    (path / "queries.log").unlink()
    (path / "queries.log").symlink_to("nowhere")
    aios_db.connect(path).close()


def test_a_pipe_in_the_place_of_the_configuration_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("aios.yaml")
    with caplog.at_level(logging.WARNING):
        assert load_config(env={}) == Config()
    assert "aios.yaml is a pipe or a device, and is not used" in caplog.text


def test_a_pipe_in_a_model_or_of_pairs_is_refused(tmp_path: Path, minilm_dir: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(minilm_dir, model)
    (model / "metadata.json").unlink()
    os.mkfifo(model / "metadata.json")
    with pytest.raises(aios_db.WeightsError, match=r"metadata\.json is no file"):
        ModelDirectory.open(model)
    os.mkfifo(tmp_path / "pairs.parquet")
    with pytest.raises(aios_db.DataError, match=r"pairs\.parquet is a pipe"):
        items_of(tmp_path / "pairs.parquet")
