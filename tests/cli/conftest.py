from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from aios_db.cli import main


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
