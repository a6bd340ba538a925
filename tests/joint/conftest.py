from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joint_world import register

import aios_db


@pytest.fixture
def world(minilm_dir: Path, tmp_path: Path) -> Callable[..., aios_db.Connection]:
    """Open the database with both encoders; its models and features lie in the test's directory."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "minilm").symlink_to(minilm_dir)

    def connect(**options: Any) -> aios_db.Connection:
        config = {
            "engine": {"models_dir": str(models)},
            "device": {"target": "cpu"},
            "cpu": {"backend": "standard"},
        }
        con = aios_db.connect(tmp_path / "agent.aios", config=config, **options)
        register(con)
        return con

    return connect
