from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from aios_db.cli import main
from aios_db.config import load_config


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run of the command line left: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def aios(tmp_path, monkeypatch, capsys, minilm_dir) -> Callable[..., Result]:
    """Return a function that runs `aios` with these arguments in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))
    monkeypatch.delenv("AIOS_DB", raising=False)

    def aios(*arguments: object) -> Result:
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(status, printed.out, printed.err)

    return aios


@pytest.fixture
def load(tmp_path, caplog):
    """Return a function of (YAML text, environment) that gives the configuration and the errors logged."""

    def load(text="", **env):
        file = tmp_path / "c.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        caplog.clear()
        config = load_config(file, env)
        assert all(record.levelno == logging.ERROR for record in caplog.records)
        return config, [record.getMessage().replace(str(file), "c.yaml") for record in caplog.records]

    return load
